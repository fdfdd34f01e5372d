import pytest
import torch
import torch.nn.functional as F
from helpers.nets import IMAGE, Calls, captured, flattened, ops
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import nn

MOVES = {"reshape", "permute", "slice", "take", "expand", "concat", "identity"} | {
    *("pad", "upsample", "interpolate"),
}


def moved(part):
    """The operations that a part on images amounts to, after checking what they give."""
    found = ops(captured(flattened(part), IMAGE))
    assert set(found) <= MOVES
    return found[:-1]  # without the flatten


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        (lambda x: x.permute(0, 2, 3, 1), ["permute"]),
        (lambda x: x.permute((0, 3, 1, 2)), ["permute"]),
        (lambda x: torch.permute(x, (0, -1, 1, 2)), ["permute"]),
        (lambda x: x.transpose(1, 3), ["permute"]),
        (lambda x: torch.transpose(x, -1, -2), ["permute"]),
        (lambda x: x.swapaxes(2, 3), ["permute"]),
        (lambda x: x[:, 1:], ["slice"]),
        (lambda x: x[:, :, ::2, 1:-1], ["slice", "slice"]),
        (lambda x: x[..., 3:], ["slice"]),
        (lambda x: x[:, 0], ["slice", "reshape"]),
        (lambda x: x[:, -1, None], ["slice"]),
        (lambda x: x[:, None, ..., 2], ["slice", "reshape"]),
        (lambda x: x[:], ["reshape"]),
        (lambda x: x.select(1, 1), ["slice", "reshape"]),
        (lambda x: torch.select(x, -1, 0), ["slice", "reshape"]),
        (lambda x: x.narrow(2, 1, 3), ["slice"]),
        (lambda x: torch.cat(x.chunk(2, 1)[::-1], 1), ["slice", "slice", "concat"]),
        (lambda x: torch.cat(torch.chunk(x, 3, dim=2), 2), ["slice"] * 3 + ["concat"]),
        (lambda x: torch.cat(x.split(3, 2), 2), ["slice"] * 3 + ["concat"]),
        (lambda x: torch.cat(torch.split(x, [5, 3], -1), 3), ["slice"] * 2 + ["concat"]),
        (lambda x: torch.cat(x.unbind(1), 1), ["slice", "reshape"] * 2 + ["concat"]),
        (lambda x: x.movedim(1, -1), ["permute"]),
        (lambda x: torch.movedim(x, (1, 2), (3, 1)), ["permute"]),
        (lambda x: torch.moveaxis(x, 3, 1), ["permute"]),
        (lambda x: x[:, [1, 0]], ["take"]),
        (lambda x: x[:, [1, 0, 1], 1:], ["take", "slice"]),
        (lambda x: x[..., torch.tensor([3, -1])], ["take"]),
        (lambda x: x[:, None, torch.tensor([False, True])], ["take", "reshape"]),
        (lambda x: x.index_select(2, torch.tensor([7, 0])), ["take"]),
        (lambda x: torch.index_select(x, -1, torch.arange(8).flip(0)), ["take"]),
        (lambda x: F.pad(x, (1, 2)), ["pad"]),
        (lambda x: F.pad(x, (1, 2, -1, 0), "constant", 0), ["pad"]),
        (lambda x: F.pad(x, (1, 2, 1, 0), mode="reflect"), ["pad"]),
        (nn.ZeroPad2d(1), ["pad"]),
        (nn.ZeroPad2d((1, 0, 2, 0)), ["pad"]),
        (nn.ConstantPad2d(2, 0.0), ["pad"]),
        (nn.ReflectionPad2d(2), ["pad"]),
        (nn.ReplicationPad2d(1), ["pad"]),
        (nn.CircularPad2d(1), ["pad"]),
        (nn.Upsample(scale_factor=2), ["upsample"]),
        (nn.Upsample(size=(9, 17)), ["upsample"]),
        (nn.Upsample(scale_factor=(2, 1.5)), ["upsample"]),
        (lambda x: F.interpolate(x, scale_factor=3), ["upsample"]),
        (lambda x: F.interpolate(x, (4, 4), mode="nearest"), ["upsample"]),
        (nn.UpsamplingBilinear2d(scale_factor=2), ["interpolate"]),
        (nn.Upsample((5, 9), mode="bilinear", align_corners=True), ["interpolate"]),
        (lambda x: F.interpolate(x, scale_factor=1.5, mode="bicubic"), ["interpolate"]),
        (lambda x: torch.roll(x, (1, -3), (1, 3)), ["take", "take"]),
        (lambda x: x.flip(3), ["take"]),
        (lambda x: torch.flip(x, (1, 2)), ["take", "take"]),
        (lambda x: torch.rot90(x, 1, (2, 3)), ["reshape", "take", "reshape"]),
        (lambda x: x.repeat(1, 2, 1, 3), ["take", "take"]),
        (lambda x: torch.tile(x, (2, 1)), ["take"]),
        (lambda x: x.repeat_interleave(2, dim=1), ["take"]),
        (lambda x: x[:, :1].expand(-1, 3, -1, -1), ["slice", "expand"]),
        (lambda x: x[:, :1].expand_as(x), ["slice", "expand"]),
        (lambda x: torch.broadcast_to(x[..., :1], x.shape), ["slice", "expand"]),
        (lambda x: x[:, None].expand(x.size(0), 2, 2, 8, 8), ["reshape", "expand"]),
        (lambda x: x.unfold(2, 3, 2), ["reshape", "take", "reshape"]),
        (lambda x: torch.cat(x.tensor_split(3, 2)[::-1], 2), ["slice"] * 3 + ["concat"]),
        (lambda x: torch.tensor_split(x, (1, -2), 3)[1], ["slice"]),
        (lambda x: torch.tensor_split(x, torch.tensor([1, 3]), 2)[1], ["slice"]),
        (lambda x: torch.tensor_split(x, [3, 1], 2)[2], ["slice"]),
        (torch.fliplr, ["take"]),
        (lambda x: x.swapdims(1, 3), ["permute"]),
        (nn.PixelUnshuffle(2), ["reshape", "permute", "reshape"]),
        (nn.Unfold(4, stride=4), ["reshape", "take", "reshape"]),
        (lambda x: F.unfold(x, (3, 2), 2, (1, 2), (2, 1)), ["pad", "reshape", "take", "reshape"]),
    ],
)
def test_moves(part, expected):
    assert moved(part) == expected


def test_channel_shuffle():
    def shuffle(x):
        batch, channels, height, width = x.size()
        x = x.view(batch, 2, channels // 2, height, width).transpose(1, 2).contiguous()
        return x.view(batch, -1, height, width)

    assert moved(shuffle) == ["reshape", "permute", "identity", "reshape"]


@pytest.mark.parametrize(
    "shuffle",
    [
        nn.ChannelShuffle(3),
        lambda x: F.channel_shuffle(x, 3),
        lambda x: F.channel_shuffle(x.flatten(2), 3),
        lambda x: F.channel_shuffle(x[..., None], 2),
    ],
)
def test_pytorch_s_own_channel_shuffle(shuffle):
    net = Calls(lambda n, x: n.part(n.conv(x)).flatten(1), part=shuffle, conv=nn.Conv2d(2, 6, 3))
    assert ops(captured(net, IMAGE))[-4:-1] == ["reshape", "permute", "reshape"]


@pytest.mark.parametrize("shuffle", [nn.PixelShuffle(2), lambda x: F.pixel_shuffle(x, 2)])
def test_pixel_shuffle(shuffle):
    net = Calls(lambda n, x: n.part(n.conv(x)).flatten(1), part=shuffle, conv=nn.Conv2d(2, 12, 3))
    assert ops(captured(net, IMAGE))[1:-1] == ["reshape", "permute", "reshape"]


@pytest.mark.parametrize("dim", [1, 2, 3, -1, -4])
def test_a_stack(dim):
    net = Calls(lambda n, x: torch.stack([x, x.relu(), x * 2], dim).flatten(1))
    graph = captured(net, IMAGE)
    assert "concat" in ops(graph)
    assert ops(graph).count("reshape") == 3 + 1


def test_a_piece_that_nobody_reads_is_dropped():
    net = Calls(lambda n, x: n.fc(x.chunk(2, 1)[1]), fc=nn.Linear(3, 2))
    assert ops(captured(net, (6,))) == ["slice", "linear"]


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("groups", [1, 2])
def test_transposed_convolution(rank, groups):
    kind = [nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d][rank - 1]
    function = [F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d][rank - 1]
    module = kind(4, 2, 3, 2, 1, output_padding=1, groups=groups)
    shape = (4, *[4, 3, 2][:rank])
    assert ops(captured(flattened(module), shape)) == ["conv_transpose", "reshape"]
    net = Calls(
        lambda n, x: function(x, n.up.weight, n.up.bias, 2, 1, 1, groups).flatten(1), up=module
    )
    assert ops(captured(net, shape)) == ["conv_transpose", "reshape"]


places = st.one_of(
    st.integers(-3, 2),
    st.slices(3),
    st.none(),
)


@given(st.lists(places, max_size=4))
def test_any_index_of_slices(index):
    picked = (slice(None), *index)
    x = torch.zeros(2, 3, 3, 3)
    try:
        taken = x[picked]
    except (IndexError, ValueError):
        return  # too many axes, or a step back
    assume(taken.numel() > 0)
    assume(taken.dim() > 1)
    captured(flattened(lambda x: x[picked]), (3, 3, 3), batches=(1, 4))
