"""
Tests for L{hypermail.hive.frames} and L{hypermail.hive.fields}: seed 002.
"""

from __future__ import annotations

import json
from importlib.resources import files

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hypermail.hive.errors import FrameInvalid
from hypermail.hive.frames import (
    EXTENSIONS,
    Accept,
    Body,
    ConnectionKind,
    Frame,
    Heartbeat,
    IAm,
    Kind,
    Leave,
    Mount,
    Mounted,
    MountRefused,
    NeedBand,
    Refuse,
    RequestBody,
    RequestEnd,
    RequestHead,
    ResponseBody,
    ResponseEnd,
    ResponseHead,
    ResponseWant,
    Unmount,
    decode,
)

VECTORS = json.loads((files("hypermail.test") / "vectors" / "hive.json").read_text())

#: What the vectors say, in our words.
SAID: dict[str, Frame | Body] = {
    "IAm, cell": IAm(ConnectionKind.CELL, "", "example key"),
    "IAm, band": IAm(
        ConnectionKind.BAND, "6ba7b810-9dad-11d1-80b4-00c04fd430c8", "6ba7b811-9dad-11d1-80b4-00c04fd430c8"
    ),
    "Mount": Mount("@", "/"),
    "Unmount": Unmount(),
    "NeedBand": NeedBand(1),
    "HTTPReqBody": RequestBody(b"hello"),
    "HTTPReqEnd": RequestEnd(),
    "HTTPResWant": ResponseWant(1 << 20),
    "HTTPResHead": ResponseHead(200, {"content-type": ("text/plain",)}),
    "HTTPResBody": ResponseBody(b"hi\n"),
    "HTTPResEnd": ResponseEnd(),
}

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
NUMBER = st.integers(0, (1 << 63) - 1)
LISTS = st.dictionaries(TEXT, st.lists(TEXT, max_size=3).map(tuple), max_size=3)
FRAMES: st.SearchStrategy[Frame | Body] = st.one_of(
    st.builds(IAm, st.sampled_from(ConnectionKind), TEXT, TEXT, st.sampled_from((0, EXTENSIONS))),
    st.builds(Accept, TEXT, TEXT, NUMBER, st.lists(TEXT, max_size=3).map(tuple)),
    st.builds(Refuse, TEXT),
    st.builds(Mount, TEXT, TEXT),
    st.builds(Unmount, TEXT, TEXT),
    st.builds(Mounted, TEXT, TEXT),
    st.builds(MountRefused, TEXT, TEXT, TEXT),
    st.just(Leave()),
    st.builds(Heartbeat, st.sampled_from((0, 1))),
    st.builds(NeedBand, NUMBER),
    st.builds(
        RequestHead,
        remote_address_real=TEXT,
        method=TEXT,
        host=TEXT,
        port=st.integers(0, 65_535),
        path=TEXT,
        query=LISTS,
        protocol_major=NUMBER,
        headers=LISTS,
        cookies=LISTS,
        target=TEXT,
    ),
    st.builds(RequestEnd, LISTS),
    st.builds(ResponseWant, NUMBER),
    st.builds(ResponseHead, NUMBER, LISTS),
    st.builds(ResponseEnd, LISTS),
    st.builds(RequestBody, st.binary(max_size=50)),
    st.builds(ResponseBody, st.binary(max_size=50)),
)


class VectorTests(SynchronousTestCase):
    """What the programs of the seed's authors write."""

    def test_complete(self) -> None:
        """All vectors are tried."""
        self.assertEqual({vector["name"] for vector in VECTORS["frames"]}, set(SAID))

    def test_both_ways(self) -> None:
        """They are read as what they say, and we write the same."""
        for vector in VECTORS["frames"]:
            raw = bytes.fromhex(vector["hex"])
            said = SAID[vector["name"]]
            self.assertEqual((decode(raw[4:]), int.from_bytes(raw[:4], "big")), (said, len(raw) - 4), vector["name"])
            self.assertEqual(said.frame(), raw[4:], vector["name"])

    def test_empty(self) -> None:
        """A frame without a kind is none."""
        self.assertRaises(FrameInvalid, decode, b"")


class RoundTripTests(SynchronousTestCase):
    """Everything that can be said."""

    @given(FRAMES)
    def test_same(self, frame: Frame | Body) -> None:
        """What is written is read as the same."""
        self.assertEqual(decode(frame.frame()), frame)

    @given(
        st.one_of(
            st.binary(max_size=60),
            st.builds(lambda kind, rest: bytes((kind,)) + rest, st.sampled_from(Kind), st.binary(max_size=60)),
        )
    )
    def test_anything(self, data: bytes) -> None:
        """Anything is a frame or L{FrameInvalid}."""
        try:
            frame = decode(data)
        except FrameInvalid:
            return
        self.assertEqual(decode(frame.frame()), frame)

    @given(
        st.sampled_from([kind for kind in Kind if kind not in (Kind.REQUEST_BODY, Kind.RESPONSE_BODY)]),
        st.recursive(
            st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
            lambda inner: st.one_of(
                st.lists(inner, max_size=3),
                st.dictionaries(
                    st.sampled_from(["connKind", "uuid", "host", "headers", "statusCode", "port", "count", "trailers"]),
                    inner,
                    max_size=4,
                ),
            ),
            max_leaves=8,
        ),
    )
    def test_any_json(self, kind: Kind, content: object) -> None:
        """Any JSON is a frame or L{FrameInvalid}."""
        try:
            frame = decode(bytes((kind,)) + json.dumps(content).encode())
        except FrameInvalid:
            return
        self.assertEqual(decode(frame.frame()), frame)


class ReadingTests(SynchronousTestCase):
    """How JSON of other programs may be."""

    def test_as_go(self) -> None:
        """Spaces, another order, keys that nobody knows, null and absent ones are all right."""
        for payload, meant in (
            (b' { "path" : "/" , "host":"@", "colour": [1, {"x": null}]}', Mount("@", "/")),
            (b'{"host":null,"path":"/"}', Mount("", "/")),
            (b"{}", Mount()),
            (b"", Mount()),
            (b'{"host":"\\u00e9","path":"\xc3\xa9"}', Mount("é", "é")),
            (b'{"host":"a","host":"b"}', Mount("b", "")),
        ):
            self.assertEqual(decode(b"\x10" + payload), meant)
        self.assertEqual(decode(b'\x39{"statusCode":200,"headers":null}'), ResponseHead(200, {}))
        self.assertEqual(decode(b'\x39{"statusCode":200,"headers":{"a":null}}'), ResponseHead(200, {"a": ()}))
        self.assertEqual(decode(b"\x11"), Unmount())

    def test_extensions(self) -> None:
        """What is ours is not written where there is nothing to say."""
        self.assertNotIn(b"hypermail", IAm().frame())
        self.assertIn(b'"hypermail":1', IAm(extensions=EXTENSIONS).frame())
        self.assertEqual(Accept("u", "k").frame(), b'\x08{"uuid":"u","key":"k"}')
        self.assertEqual(RequestEnd({"a": ("b",)}).frame(), b'\x32{"trailers":{"a":["b"]}}')

    def test_refused(self) -> None:
        """What is wrong is named."""
        for frame, said in (
            (b"\x77", "there are no frames of kind 0x77"),
            (b"\x10{", "Mount is no JSON: "),
            (b"\x10\xff", "Mount is no JSON: "),
            (b"\x10" + b"[" * 100_000, "Mount is no JSON: "),
            (b"\x10[]", "Mount is no JSON object"),
            (b"\x10null", "Mount is no JSON object"),
            (b'\x10{"host":1}', "host of Mount is not a string"),
            (b'\x10{"host":"\\ud800"}', "host of Mount is not a string of characters"),
            (b'\x20{"count":NaN}', "NaN is no number"),
            (b'\x20{"count":-1}', "count of NeedBand is not a whole number that is not negative"),
            (b'\x20{"count":1.0}', "count of NeedBand is not a whole number"),
            (b'\x20{"count":true}', "count of NeedBand is not a whole number"),
            (b'\x20{"count":9223372036854775808}', "count of NeedBand is not a whole number"),
            (b'\x20{"count":' + b"9" * 5_000 + b"}", "NeedBand"),
            (b'\x00{"connKind":2}', "connKind of IAm is not 0, of a cell, or 1, of a band"),
            (b'\x30{"port":65536}', "port of RequestHead is not a port"),
            (b'\x39{"headers":[]}', "headers of ResponseHead is not an object of lists"),
            (b'\x39{"headers":{"a":"b"}}', "headers of ResponseHead is not a list of strings"),
            (b'\x39{"headers":{"a":[1]}}', "headers of ResponseHead is not a string"),
            (b'\x39{"headers":{"\\udfff":[]}}', "headers of ResponseHead is not a string of characters"),
        ):
            self.assertIn(said, self.assertRaises(FrameInvalid, decode, frame).text)
