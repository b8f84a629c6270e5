# SPDX-License-Identifier: Apache-2.0
"""The messages that the parts of Allotment exchange, one noun a module; docs/reference/formats shows each."""

from allotment.messages import desired_state, event, instance, job, manifest, promise, service

__all__ = ["desired_state", "event", "instance", "job", "manifest", "promise", "service"]
