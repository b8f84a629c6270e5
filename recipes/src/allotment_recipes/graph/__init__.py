# SPDX-License-Identifier: Apache-2.0
"""Building the parts of a release at the same time: the order, the job budget, the events and what is shown of them."""
