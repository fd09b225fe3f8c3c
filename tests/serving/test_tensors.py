"""Messages of the Open Inference Protocol, without a server: accepted, refused, answered."""

from __future__ import annotations

import json

import hypothesis.extra.numpy as arrays
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput

from mnistnet.serving.tensors import MODELS, InvalidRequestError, parse_request, write_answer

DIGIT, PICTURE = MODELS["digit"], MODELS["picture"]
IMAGES = arrays.arrays(np.uint8, st.tuples(st.integers(0, 3), st.just(28), st.just(28)))
PICTURES = arrays.arrays(
    np.uint8, st.tuples(st.integers(0, 9), st.integers(0, 9), st.just(4)), unique=False
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
ZEROS = {"name": "images", "shape": [1, 28, 28], "datatype": "UINT8", "data": [0] * 784}
OUTPUT = {"name": "probabilities"}


def body(data: object = None, **fields: object) -> bytes:
    """A request for the model `digit`, of one image, with what is given instead."""
    tensor = ZEROS if data is None else ZEROS | {"data": data}
    return json.dumps({"inputs": [tensor]} | fields).encode()


def refusal(content: bytes, json_bytes: int | None = None) -> str:
    with pytest.raises(InvalidRequestError) as refused:
        parse_request(content, json_bytes, DIGIT)
    assert 400 <= refused.value.status < 500
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 300
    return str(refused.value)


@given(IMAGES, st.booleans(), st.text())
def test_flat_and_nested_data_are_the_same_images(
    images: np.ndarray, nested: bool, identifier: str
) -> None:
    data = images.tolist() if nested else images.ravel().tolist()
    tensor = ZEROS | {"shape": images.shape, "data": data}
    request = parse_request(body(inputs=[tensor], id=identifier), None, DIGIT)
    np.testing.assert_array_equal(request.array, images)
    assert request.array.shape == images.shape
    assert request.id == identifier
    assert [(tensor.name, binary) for tensor, binary in request.outputs] == [
        ("probabilities", False)
    ]


@given(PICTURES, st.booleans())
def test_a_client_of_triton_is_understood(picture: np.ndarray, binary: bool) -> None:
    tensor = InferInput("picture", list(picture.shape), "UINT8")
    tensor.set_data_from_numpy(picture, binary_data=binary)
    outputs = [InferRequestedOutput("ink", binary_data=binary), InferRequestedOutput("seen")]
    content, json_bytes = InferenceServerClient.generate_request_body(
        [tensor], outputs=outputs, request_id="7"
    )
    request = parse_request(content, json_bytes, PICTURE)
    np.testing.assert_array_equal(request.array, picture)
    asked_for = [(output.name, as_binary) for output, as_binary in request.outputs]
    assert asked_for == [("ink", binary), ("seen", True)]


@given(
    arrays.arrays(
        np.float32, st.tuples(st.integers(0, 3), st.just(10)), elements=st.floats(0, 1, width=32)
    ),
    st.booleans(),
)
def test_a_client_of_triton_understands_each_number(values: np.ndarray, binary: bool) -> None:
    request = parse_request(body(parameters={"binary_data_output": binary}, id="ü"), None, DIGIT)
    content, json_bytes = write_answer(request, {"probabilities": values}, "v3")
    result = InferenceServerClient.parse_response_body(content, header_length=json_bytes)
    np.testing.assert_array_equal(result.as_numpy("probabilities"), values)
    assert result.as_numpy("probabilities").shape == values.shape
    answer = result.get_response()
    assert (answer["id"], answer["model_name"], answer["model_version"]) == ("ü", "digit", "v3")


def test_the_outputs_of_a_picture_come_in_the_order_asked_for_and_of_their_types() -> None:
    outputs = {
        "probabilities": np.arange(10, dtype=np.float32),
        "seen": np.arange(784, dtype=np.uint8).reshape(28, 28),
        "ink": np.array(True),
        "several": np.array(False),
        "hypothesis": np.array(3),
    }
    picture = np.zeros((2, 3, 4), np.uint8)
    for binary in (False, True):
        for names in (list(outputs), ["hypothesis", "seen"], ["several"]):
            tensor = InferInput("picture", [2, 3, 4], "UINT8")
            tensor.set_data_from_numpy(picture)
            asked_for = [InferRequestedOutput(name, binary_data=binary) for name in names]
            request = InferenceServerClient.generate_request_body([tensor], outputs=asked_for)
            content, json_bytes = write_answer(parse_request(*request, PICTURE), outputs, "v3")
            result = InferenceServerClient.parse_response_body(content, header_length=json_bytes)
            assert [output["name"] for output in result.get_response()["outputs"]] == names
            for name in names:
                array = result.as_numpy(name)
                assert array.dtype == outputs[name].dtype
                np.testing.assert_array_equal(array, np.atleast_1d(outputs[name]))


@pytest.mark.parametrize("value", [-1, 256, 0.5, 1e30, 10**30, True, False, None, "7", [7], {}])
def test_what_is_no_byte_is_refused(value: object) -> None:
    assert "whole numbers from 0 to 255" in refusal(body([0] * 783 + [value]))


def test_a_whole_number_may_be_written_as_a_fraction() -> None:
    array = parse_request(body([7.0, 255.0] + [0] * 782), None, DIGIT).array
    assert array.ravel()[:3].tolist() == [7, 255, 0]


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e400", "-1e400", "0x1", "01", "1_0"])
def test_what_is_no_number_in_json_is_refused(number: str) -> None:
    assert "JSON" in refusal(body([0] * 783 + ["?"]).replace(b'"?"', number.encode()))


@pytest.mark.parametrize(
    ("shape", "data"),
    [
        ([1, 28, 28], [0] * 783),
        ([1, 28, 28], [0] * 785),
        ([2, 28, 28], [0] * 784),
        ([0, 28, 28], [0] * 784),
        ([2**63, 28, 28], [0] * 784),
        ([1, 28, 28], [[0] * 784]),
        ([1, 28, 28], [[[0] * 28] * 27 + [[0] * 27]]),
        ([1, 28, 28], [[[0] * 28] * 27 + [0]]),
        ([2, 28, 28], [[[0] * 28] * 28]),
        ([1, 28, 28], 0),
        ([0, 28, 28], {}),
    ],
)
def test_data_of_another_length_than_the_shape_are_refused(shape: list[int], data: object) -> None:
    assert "data is not" in refusal(body(inputs=[ZEROS | {"shape": shape, "data": data}]))


@pytest.mark.parametrize(
    "shape",
    [
        [784],
        [1, 784],
        [1, 1, 28, 28],
        [-1, 28, 28],
        [1.0, 28, 28],
        [True, 28, 28],
        [1, 28, 29],
        "1",
        None,
    ],
)
def test_a_shape_that_does_not_fit_the_model_is_refused(shape: object) -> None:
    assert "shape is not [-1, 28, 28]" in refusal(body(inputs=[ZEROS | {"shape": shape}]))


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"inputs": []}, "inputs"),
        ({"inputs": [ZEROS, ZEROS]}, "inputs"),
        ({"inputs": {}}, "inputs"),
        ({"inputs": [[]]}, "an input is not a JSON object"),
        ({"inputs": [ZEROS | {"name": "image"}]}, "name"),
        ({"inputs": [ZEROS | {"name": [[]]}]}, "name"),
        ({"inputs": [ZEROS | {"datatype": "FP32"}]}, "datatype"),
        ({"inputs": [ZEROS | {"datatype": "uint8"}]}, "datatype"),
        ({"inputs": [ZEROS | {"parameters": []}]}, "parameters"),
        ({"inputs": [ZEROS | {"parameters": {"shared_memory_region": "a"}}]}, "shared_memory"),
        ({"id": 7}, "id"),
        ({"id": None}, "id"),
        ({"parameters": None}, "parameters"),
        ({"parameters": {"binary_data_output": 1}}, "binary_data_output"),
        ({"outputs": {}}, "outputs"),
        ({"outputs": ["probabilities"]}, "an output is not a JSON object"),
        ({"outputs": [{"name": "logits"}]}, "none of probabilities"),
        ({"outputs": [{"name": ["probabilities"]}]}, "none of probabilities"),
        ({"outputs": [OUTPUT, OUTPUT]}, "twice"),
        ({"outputs": [OUTPUT | {"parameters": {"classification": 3}}]}, "classification"),
        ({"outputs": [OUTPUT | {"parameters": {"binary_data": "no"}}]}, "binary_data"),
    ],
)  # fmt: skip
def test_a_request_for_something_else_is_refused(fields: dict[str, object], problem: str) -> None:
    assert problem in refusal(body(**fields))


def test_parameters_that_mean_nothing_here_are_ignored() -> None:
    parameters = {"priority": 1, "timeout": 5, "headers": {"a": [":"]}, "binary_data_output": True}
    request = parse_request(body(parameters=parameters, outputs=[], more=1), None, DIGIT)
    assert [binary for _, binary in request.outputs] == [True]


@pytest.mark.parametrize(
    "text",
    [
        '{"id": "a", "id": "b", %s}',
        r'{"id": "a", "\u0069d": "b", %s}',
        r'{"id": "a", "id": "\u003a", %s}',
        '{"parameters": {"a": 1, "a": {"b": 2}}, %s}',
        '{"parameters": {"data": {"a": 1, "a": 2}}, %s}',
    ],
)
def test_an_object_with_a_name_twice_is_refused(text: str) -> None:
    assert "twice" in refusal((text % body().decode()[1:-1]).encode())


def test_texts_with_colons_and_escapes_are_no_repeated_names() -> None:
    request = parse_request(body(id='a:b\\": "é:\n', parameters={"::": ":"}), None, DIGIT)
    assert request.id == 'a:b\\": "é:\n'


@pytest.mark.parametrize("content", [b"", b"[]", b"null", b"\xff{}", b"[" * 10**5, b'{"a":' * 999])
def test_what_is_no_json_object_is_refused(content: bytes) -> None:
    refusal(content)


@pytest.mark.parametrize("depth", [900, 1020, 10**5])
def test_json_of_any_depth_does_no_harm(depth: int) -> None:
    deep = b"[" * depth + b"]" * depth
    for field in (b"parameters", b"id", b"inputs", b"outputs", b"x"):
        content = b'{"%s": %s, ' % (field, deep) + body()[1:]
        refusal(content)
    for field in (b"data", b"shape", b"name", b"datatype", b"parameters"):
        refusal(b'{"inputs": [{"%s": %s}]}' % (field, deep))


def binary_body(
    images: bytes, size_bytes: object, shape: object = (1, 28, 28)
) -> tuple[bytes, int]:
    tensor = {"name": "images", "shape": shape, "datatype": "UINT8"}
    text = body(inputs=[tensor | {"parameters": {"binary_data_size": size_bytes}}])
    return text + images, len(text)


@pytest.mark.parametrize("size_bytes", [783, 785, -784, 0, 784.0, True, "784", None, 2**63])
def test_a_binary_size_that_lies_is_refused(size_bytes: object) -> None:
    assert "binary_data_size" in refusal(*binary_body(bytes(784), size_bytes))


@pytest.mark.parametrize("n", [0, 783, 785, 1568])
def test_binary_data_of_another_length_than_the_shape_are_refused(n: int) -> None:
    assert "shape" in refusal(*binary_body(bytes(n), n))
    assert "shape" in refusal(*binary_body(bytes(n), 784))


@pytest.mark.parametrize("json_bytes", [-1, 10**30, 0, 1, 900])
def test_a_length_of_the_json_that_lies_is_refused(json_bytes: int) -> None:
    refusal(binary_body(bytes(784), 784)[0], json_bytes)
    refusal(body(), json_bytes if json_bytes != 900 else len(body()) + 1)


def test_binary_data_without_the_header_or_together_with_json_data_are_refused() -> None:
    content, json_bytes = binary_body(bytes(784), 784)
    assert "JSON" in refusal(content)
    assert "follow" in refusal(content[:json_bytes])
    assert "follow" in refusal(body() + bytes(784), len(body()))
    both = body(inputs=[ZEROS | {"parameters": {"binary_data_size": 784}}])
    assert "either" in refusal(both + bytes(784), len(both))
    neither = body(inputs=[{name: ZEROS[name] for name in ("name", "shape", "datatype")}])
    assert "either" in refusal(neither)


@given(st.binary() | JSON.map(lambda value: json.dumps(value).encode()), st.none() | st.integers())
def test_anything_is_refused_in_one_line(content: bytes, json_bytes: int | None) -> None:
    refusal(content, json_bytes)


@given(st.data())
def test_a_request_with_anything_in_a_field_is_refused_or_of_the_right_shape(
    data: st.DataObject,
) -> None:
    tensor = dict(ZEROS)
    request: dict[str, object] = {
        "inputs": [tensor],
        "outputs": [OUTPUT],
        "id": "a",
    }
    changed = data.draw(st.sampled_from([tensor, request]))
    changed[data.draw(st.sampled_from([*changed, "parameters"]))] = data.draw(JSON)
    try:
        parsed = parse_request(json.dumps(request).encode(), None, DIGIT)
    except InvalidRequestError as error:
        assert str(error).isprintable()  # noqa: PT017 – most requests are refused, not all
    else:
        assert parsed.array.shape[1:] == (28, 28)
        assert parsed.array.dtype == np.uint8
