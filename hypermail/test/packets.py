"""
Packets for tests: one example of every kind with its bytes written by hand, and Hypothesis strategies.
"""

from __future__ import annotations

from hypothesis import strategies as st

from hypermail.options import Way
from hypermail.wire import packets as p
from hypermail.wire.parameters import Parameters

PARAMETERS = Parameters(1, 2, 3, 4, 5, 0x100, 0x10000, 65_507, 30_000, 0xABC, 2)
_PARAMETERS = "0b 0101 01 0201 02 0301 03 0401 04 0501 05 0602 0100 0703 010000 0802 ffe3 0902 7530 0a02 0abc 0b01 02"
TOLD = PARAMETERS._replace(reset_token=bytes(range(16)))
_TOLD = "0c" + _PARAMETERS[2:] + "0c10" + bytes(range(16)).hex()
_ONE = "0000000000000001"
_TWO = "0000000000000002"
_BIG = "3fffffffffffffff"


def _bytes(*parts: str) -> bytes:
    return bytes.fromhex("".join(parts))


#: One packet of every kind and every shape of it, with the bytes that docs/protocol asks for.
EXAMPLES: list[tuple[p.Packet, bytes]] = [
    (p.SessionOpen(Way.READ_ONLY, PARAMETERS), _bytes("00 01", _PARAMETERS)),
    (p.SessionOpenAck(TOLD), _bytes("01 01", _TOLD)),
    (p.SessionOpenAck(None, 5, "no"), _bytes("01 00 00000005 02 6e6f")),
    (
        p.SessionReopen(b"s" * 16, 2, b"p" * 32, 1, PARAMETERS),
        _bytes("02", "73" * 16, _TWO, "70" * 32, _ONE, _PARAMETERS),
    ),
    (p.SessionReopenAck(b"p" * 32, TOLD), _bytes("03 01", "70" * 32, _TOLD)),
    (p.SessionReopenAck(b"p" * 32, incarnation=2), _bytes("03 02", "70" * 32, _TWO)),
    (p.SessionReopenAck(b"", code=12, text="é"), _bytes("03 00 0000000c 02 c3a9")),
    (p.SessionClose(), _bytes("04")),
    (p.SessionCloseAck(), _bytes("05")),
    (p.SessionDeath(0xFFFFFFFF, "x"), _bytes("06 ffffffff 01 78")),
    (p.StreamBlock(7, 2, 1, 10, 4, b"abc"), _bytes("07 07 02", _ONE, "0000000a 00000004 0003 616263")),
    (p.StreamBlock(0, 0, 2, 0, 0, b""), _bytes("07 00 00", _TWO, "00000000 00000000 0000")),
    (p.StreamBlockAck(3, 1, (), ()), _bytes("08 03", _ONE, "00 00")),
    (
        p.StreamBlockAck(3, 0, ((1, 2),), (p.Verdict(1, True, 33, ""), p.Verdict(2, False, 32, "no"))),
        _bytes("08 03 0000000000000000 01 02", _ONE, _TWO, _ONE, "02 00000021 00", _TWO, "01 00000020 02 6e6f"),
    ),
    (p.StreamOpen(2, b"name", {}, None), _bytes("09", _TWO, "00 0004 6e616d65 00")),
    (
        p.StreamOpen(2, b"", {"k": b"", "é": b"v"}, 1),
        _bytes("09", _TWO, "01", _ONE, "0000 02 01 6b 0000 02 c3a9 0001 76"),
    ),
    (p.StreamOpenAck(1, 2), _bytes("0a", _ONE, "01", _TWO)),
    (p.StreamOpenAck(1, None, 48, "no"), _bytes("0a", _ONE, "00 00000030 02 6e6f")),
    (p.StreamReopen(1, 2, 1), _bytes("0b", _ONE, _TWO, _ONE)),
    (p.StreamReopenAck(1, 2, 1), _bytes("0c", _ONE, _TWO, _ONE)),
    (p.StreamChunk(1, 2, b"xyz"), _bytes("0d", _ONE, _TWO, "0003 78797a")),
    (p.StreamChunkAck(1, 2), _bytes("0e", _ONE, _TWO)),
    (p.StreamFlush(1, 2), _bytes("0f", _ONE, _TWO)),
    (p.StreamFlushAck(1), _bytes("10", _ONE)),
    (p.StreamLack(1, ((0, 1), (2, 1 << 62))), _bytes("11", _ONE, "02", "00" * 8, _ONE, _TWO, "4000000000000000")),
    (p.StreamLater(1), _bytes("12", _ONE)),
    (p.StreamGo(1, 2), _bytes("13", _ONE, _TWO)),
    (p.StreamClear(1, 49, "no"), _bytes("14 00", _ONE, "00000031 02 6e6f")),
    (p.MessageClear(7, 3, 1), _bytes("14 01 07 03", _ONE)),
    (p.MessageClear(7, 8, 1, True), _bytes("14 02 07 08", _ONE)),
    (p.HealthPing(1), _bytes("15", _ONE)),
    (p.HealthPong(2), _bytes("16", _TWO)),
    (p.Ack(0, ((0, 1),)), _bytes("20 0000000000000000 00000000 0000 00000001")),
    (
        p.Ack(258, (((1 << 62) - 2, 1 << 62), ((1 << 62) - 9, (1 << 62) - 5))),
        _bytes("20", _BIG, "00000102 0001 00000002 00000003 00000004"),
    ),
    (
        p.Ack(9, ((0, 1),), (1, 2, (1 << 32) - 1)),
        _bytes("27 0000000000000000 00000009 0000 00000001 00000001 00000002 ffffffff"),
    ),
    (
        p.Ack(0, ((5, 6), (0, 3)), (0, 0, 0)),
        _bytes("27 0000000000000005 00000000 0001 00000001 00000002 00000003 00000000 00000000 00000000"),
    ),
    (p.Handshake(16, b"abc"), _bytes("21 00000010 0003 616263")),
    (p.Handshake(0, b""), _bytes("21 00000000 0000")),
    (p.PathChallenge(b"12345678"), _bytes("22 3132333435363738")),
    (p.PathResponse(b"87654321"), _bytes("23 3837363534333231")),
    (p.Direct(b"abc"), _bytes("24 0003 616263")),
    (p.StreamBlocks(1, 1, 2, [b"a", b"", b"bc"]), _bytes("25 01 01", _TWO, "0003 0001 0000 0002 61 6263")),
    (p.Padding(3), _bytes("26 0000")),
]

u8 = st.integers(0, (1 << 8) - 1)
u32 = st.integers(0, (1 << 32) - 1)
u64 = st.integers(0, (1 << 64) - 1)
data = st.binary(max_size=64)
#: Reasons' texts that need neither be cut nor cleaned.
texts = st.text(st.characters(codec="utf-8").filter(str.isprintable), max_size=50)
parameters = st.builds(Parameters, *[u64] * 11, st.just(b"") | st.binary(min_size=16, max_size=16))


@st.composite
def ascending(draw: st.DrawFn, above: int, most: int = 8) -> tuple[tuple[int, int], ...]:
    """Ranges that ascend with gaps, all beyond C{above}."""
    ranges = []
    for gap, run in draw(st.lists(st.tuples(st.integers(1, 1 << 40), st.integers(1, 1 << 40)), max_size=most)):
        ranges.append((above + gap, above + gap + run))
        above += gap + run
    return tuple(ranges)


@st.composite
def blocks(draw: st.DrawFn) -> p.StreamBlock:
    """A fragment that lies within its message."""
    content = draw(data)
    offset = draw(st.integers(0, (1 << 32) - 1 - len(content))) if content else 0
    total = draw(st.integers(offset + len(content), (1 << 32) - 1)) if content else 0
    return p.StreamBlock(draw(u8), draw(u8), draw(u64), total, offset, content)


@st.composite
def block_acks(draw: st.DrawFn) -> p.StreamBlockAck:
    """What has been settled of a lane."""
    watermark = draw(st.integers(0, 1 << 62))
    verdicts = st.lists(st.builds(p.Verdict, u64, st.booleans(), u32, texts), max_size=4)
    return p.StreamBlockAck(draw(u8), watermark, draw(ascending(watermark)), tuple(draw(verdicts)))


@st.composite
def acks(draw: st.DrawFn) -> p.Ack:
    """Acknowledgements of up to as many ranges as there may be."""
    size = st.integers(1, (1 << 32) - 1)
    start = draw(st.integers(0, 1 << 61))
    ranges = []
    for gap, run in draw(st.lists(st.tuples(size, size), min_size=1, max_size=p.MAX_ACK_RANGES)):
        ranges.append((start, start + run))
        start += run + gap
    return p.Ack(draw(u32), tuple(reversed(ranges)), draw(st.none() | st.tuples(u32, u32, u32)))


proofs = st.binary(min_size=32, max_size=32)
names = st.text(st.characters(codec="utf-8"), max_size=20)
#: Every packet but padding, which ends its payload.
any_packet: st.SearchStrategy[p.Packet] = st.one_of(
    st.builds(p.SessionOpen, st.sampled_from(Way), parameters),
    st.builds(p.SessionOpenAck, parameters, st.just(0), st.just("")),
    st.builds(p.SessionOpenAck, st.none(), u32, texts),
    st.builds(p.SessionReopen, st.binary(min_size=16, max_size=16), u64, proofs, u64, parameters),
    st.builds(p.SessionReopenAck, proofs, parameters, st.none(), st.just(0), st.just("")),
    st.builds(p.SessionReopenAck, proofs, st.none(), u64, st.just(0), st.just("")),
    st.builds(p.SessionReopenAck, st.just(b""), st.none(), st.none(), u32, texts),
    st.builds(p.SessionClose),
    st.builds(p.SessionCloseAck),
    st.builds(p.SessionDeath, u32, texts),
    blocks(),
    block_acks(),
    st.builds(p.StreamBlocks, u8, u8, u64, st.lists(data, min_size=1, max_size=12)),
    st.builds(p.StreamOpen, u64, data, st.dictionaries(names, data, max_size=4), st.none() | u64),
    st.builds(p.StreamOpenAck, u64, u64, st.just(0), st.just("")),
    st.builds(p.StreamOpenAck, u64, st.none(), u32, texts),
    st.builds(p.StreamReopen, u64, u64, u64),
    st.builds(p.StreamReopenAck, u64, u64, u64),
    st.builds(p.StreamChunk, u64, u64, data),
    st.builds(p.StreamChunkAck, u64, u64),
    st.builds(p.StreamFlush, u64, u64),
    st.builds(p.StreamFlushAck, u64),
    st.builds(p.StreamLack, u64, ascending(-1)),
    st.builds(p.StreamLater, u64),
    st.builds(p.StreamGo, u64, u64),
    st.builds(p.StreamClear, u64, u32, texts),
    st.builds(p.MessageClear, u8, u8, u64),
    st.builds(p.HealthPing, u64),
    st.builds(p.HealthPong, u64),
    acks(),
    st.builds(p.Handshake, u32, data),
    st.builds(p.PathChallenge, st.binary(min_size=8, max_size=8)),
    st.builds(p.PathResponse, st.binary(min_size=8, max_size=8)),
    st.builds(p.Direct, data),
)
