"""In bfloat16 depthwise convolution of 7 x 408 frames should return on two threads of a CPU; it did not."""

import subprocess
import sys

PROGRAM = """
import torch
from hyperconformer.nn.convolution import ConvolutionModule

torch.set_num_threads(2)
module = ConvolutionModule(144, kernel_size=31)
x = torch.randn(7, 408, 144, requires_grad=True)
with torch.autocast("cpu", torch.bfloat16):
    out = module(x, None)
out.float().sum().backward()
print(out.dtype, bool(x.grad.isfinite().all()))
"""


def test_a_batch_of_seven_returns() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=120)
    assert done.stdout == "torch.bfloat16 True\n", done.stderr
