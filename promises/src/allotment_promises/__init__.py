# SPDX-License-Identifier: Apache-2.0
"""Promises: what an instance says must hold, and the launcher that checks it.

A promise type is one class in one file, see :mod:`allotment_promises.types.check_socket_listening`.
"""

from allotment_promises.generic import GenericPromise, Layer
from allotment_promises.measurement import Measurement, Metric

__all__ = ["GenericPromise", "Layer", "Measurement", "Metric"]
