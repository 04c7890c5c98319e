"""Every block names itself, and a changed one is refused."""

from __future__ import annotations

import numpy as np
import pytest

from esteemcore import codec
from esteemcore.codec import frame
from esteemcore.errors import FormatError, ParameterError

BLOCK = frame.pack("esteem.test", {"shape": [2, 3]}, b"counts")


def test_a_block_tells_what_it_holds() -> None:
    assert frame.unpack(BLOCK) == frame.Frame("esteem.test", {"shape": [2, 3]}, b"counts")
    assert len(BLOCK) == 4 + 2 + 11 + 2 + 15 + 8 + 6 + 4


@pytest.mark.parametrize("at", range(len(BLOCK)))
def test_every_changed_byte_and_every_cut_is_noticed(at) -> None:
    changed = bytearray(BLOCK)
    changed[at] ^= 0x40
    with pytest.raises(FormatError):
        frame.unpack(bytes(changed))
    with pytest.raises(FormatError):
        frame.unpack(BLOCK[:at])


@pytest.mark.parametrize(
    ("block", "message"),
    [
        (b"PK\x03\x04", "does not start with"),
        (BLOCK[:4] + b"\x02" + BLOCK[5:], "version 2; this Esteem reads version 1"),
        (BLOCK[:-1], "cut off"),
        (BLOCK[:-1] + b"!", "checksum"),
        (BLOCK, "made by the codec 'esteem.test'; expected 'esteem.events'"),
    ],
)
def test_the_message_says_what_is_wrong(block, message) -> None:
    with pytest.raises(FormatError, match=message):
        frame.unpack(block, "esteem.events")


@pytest.mark.parametrize("given", [None, "EsTm", 10**15, [69, 115], 1.5j], ids=repr)
def test_what_is_no_bytes_is_refused_before_memory_is_asked_for(given) -> None:
    for decode in (codec.decode, codec.decode_events, codec.decode_binary, codec.decode_lossless, codec.decode_eels):
        with pytest.raises(FormatError, match=f"no block of Esteem's codecs, but a {type(given).__name__}"):
            decode(given)


@pytest.mark.parametrize("encode", [codec.encode_events, codec.encode_binary, codec.encode_lossless, codec.encode_eels])
def test_lists_of_unequal_rows_are_refused_in_words(encode) -> None:
    with pytest.raises(ParameterError, match="its rows have unequal lengths"):
        encode([[[1, 2], [3]]])


def test_too_long_a_head_is_refused() -> None:
    with pytest.raises(ParameterError, match="too many"):
        frame.pack("esteem.test", {"note": "x" * 70_000}, b"")


@pytest.mark.parametrize("name", ["esteem.binary-frames", "esteem.events"])
def test_codecs_look_alike_and_are_found_by_their_id(name) -> None:
    made = codec.by_name(name)
    assert made.id == name
    assert codec.by_name(made.id, **made.config) == made
    data = np.eye(16, dtype=np.uint8)[None]
    block = made.encode(data)
    assert frame.unpack(block).codec == name
    there = [
        value.to_dense() if name == "esteem.events" else value for value in (made.decode(block), codec.decode(block))
    ]
    np.testing.assert_array_equal(there[0], data)
    np.testing.assert_array_equal(there[1], data)


def test_an_unknown_codec_is_named() -> None:
    with pytest.raises(FormatError, match=r"there is no codec 'esteem.test'; known are 'esteem.binary-frames'"):
        codec.decode(BLOCK)
