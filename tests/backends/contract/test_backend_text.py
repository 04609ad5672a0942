"""Backends with options, as text."""

import pytest

from planish.backends.contract.backend_text import BackendText
from planish.ir.core.errors import BackendError


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("onnxruntime", {}),
        ("a{spinning=false,pointwise-batch=64}", {"spinning": False, "pointwise_batch": 64}),
        ("a{burst=0.5,names=[x,y],none=none}", {"burst": 0.5, "names": ["x", "y"], "none": None}),
        ('a{b="1",c="x{y=1}",d="a b"}', {"b": "1", "c": "x{y=1}", "d": "a b"}),
    ],
)
def test_text_and_back(text, options):
    found = BackendText.parse(text)
    assert (found.name, found.options) == (text.partition("{")[0], options)
    assert str(found) == text
    assert BackendText.parse(str(found)) == found


def test_an_option_alone_is_true():
    assert BackendText.parse("auto{tune}").options == {"tune": True}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a{b=1", "expected ',' or '}'"),
        ("a,b", "names 2 backends; name one"),
        ("a{x-y=1,x_y=2}", "'x_y' of backend .* is given twice"),
        (None, "the backend is None; give its name"),
    ],
)
def test_what_is_no_backend(text, message):
    with pytest.raises(BackendError, match=message):
        BackendText.parse(text)
