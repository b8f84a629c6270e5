# SPDX-License-Identifier: Apache-2.0
"""What runs in the modules' own Python, 3.9 or newer: of the standard library and the module's eggs only.

This folder is run by path, beside whatever distributions a module names, so nothing in it imports Allotment.
"""
