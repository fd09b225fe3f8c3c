"""Ask a running service by KServe's client, in an environment that has it.

python kserve_client.py http://127.0.0.1:8000 cases.npz
"""

import asyncio
import sys

import numpy as np
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig


async def main(address: str, cases: str) -> None:
    """Compare answers with those in a file: `images` (N, 28, 28) and `expected` (N, 10)."""
    with np.load(cases) as file:
        images, expected = file["images"], file["expected"]
    async with InferenceRESTClient(RESTConfig(protocol="v2", timeout=60)) as client:
        assert await client.is_server_live(address)
        assert await client.is_server_ready(address)
        assert await client.is_model_ready(address, "digit")
        assert not await client.is_model_ready(address, "cat")
        for binary_input in (False, True):
            for binary_output in (False, True):
                tensor = InferInput("images", list(images.shape), "UINT8")
                tensor.set_data_from_numpy(images, binary_data=binary_input)
                parameters = {"binary_data_output": binary_output}
                request = InferRequest("digit", [tensor], "a-1", parameters=parameters)
                answer = await client.infer(address, request, model_name="digit")
                assert (answer.id, answer.model_name) == ("a-1", "digit")
                (output,) = answer.outputs
                np.testing.assert_allclose(output.as_numpy(), expected, atol=1e-5)


asyncio.run(main(*sys.argv[1:]))
