# SPDX-License-Identifier: Apache-2.0
import pickle

from allotment.errors import AllotmentError, RefusedError, nearest


def test_error_says_what_and_how_to_mend_it() -> None:
    assert str(AllotmentError("it is wrong", "Mend it")) == "it is wrong. Mend it."
    assert str(AllotmentError("it is wrong")) == "it is wrong."


def test_refusal_has_the_status() -> None:
    assert RefusedError("no", "Ask", 403).status == 403


def test_error_survives_the_way_to_another_process() -> None:
    again = pickle.loads(pickle.dumps(AllotmentError("what", "fix")))
    assert (again.what, again.fix) == ("what", "fix")


def test_nearest_name_is_suggested_only_when_near() -> None:
    assert nearest("mod", ["mode", "output"]) == "Did you mean 'mode'? Valid: mode, output"
    assert nearest("zzz", ("b", "a")) == "Valid: a, b"
    assert nearest("x", ()) == "None is valid here"
