"""
Tests for L{hypermail.hive.directives}.
"""

from __future__ import annotations

from ipaddress import ip_network

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from hypermail.errors import UsageError
from hypermail.hive.directives import Directives, parse_directives

BCRYPT = "$2a$10$" + "abcdefghijklmnopqrstuv" + "ABCDEFGHIJKLMNOPQRSTUVWXYZ01234"
ARGON = "$argon2id$v=19$m=65536,t=3,p=4$c2FsdHNhbHQ$aGFzaGhhc2g"


class DirectivesTests(SynchronousTestCase):
    """Right and wrong files."""

    def test_nothing(self) -> None:
        """What isn't said is as the seed's authors have it, and what is ours is off."""
        found = parse_directives("")
        self.assertEqual(found, Directives())
        self.assertEqual((found.port_hlhv, found.port_https, found.login_timeout), (2001, 443, 1.0))
        self.assertEqual((found.key_hash, found.port_http, found.port_hypermail, found.status_port), (None,) * 4)
        self.assertEqual(found.aliases["localhost"], "@")

    def test_theirs(self) -> None:
        """A file of theirs."""
        found = parse_directives(
            f"# the queen\nkeyPath /etc/key.pem\n  certPath\t/etc/my cert.pem  \n\nconnKey {BCRYPT}\n"
            "portHlhv 2002\nportHttps 8443\ngardenFreq 10\nmaxBandAge 5\ntimeout 2\ntimeoutReadHeader 1\n"
            "timeoutRead 3\ntimeoutWrite 4.5\ntimeoutIdle 60\n"
            "alias www.Example.org -> example.org\nalias (fallback)->@\nunalias ::1\n"
        )
        self.assertEqual(
            found,
            Directives(
                key_path="/etc/key.pem",
                certificate_path="/etc/my cert.pem",
                key_hash=BCRYPT,
                port_hlhv=2002,
                port_https=8443,
                garden_period=10.0,
                band_age=5.0,
                login_timeout=2.0,
                header_timeout=1.0,
                read_timeout=3.0,
                write_timeout=4.5,
                idle_timeout=60.0,
                aliases={
                    "localhost": "@",
                    "127.0.0.1": "@",
                    "::ffff:127.0.0.1": "@",
                    "www.example.org": "example.org",
                    "(fallback)": "@",
                },
            ),
        )

    def test_ours(self) -> None:
        """What we have besides."""
        found = parse_directives(
            f"connKey {ARGON}\r\nportHttp 80\r\nwebroot /srv/acme\r\ncertDir /etc/certs\r\nportHypermail 443\r\n"
            "identityPath /etc/queen\r\naccessLog /var/log/a\r\naccessLogFormat json\r\nstatusPort 9000\r\n"
            "trustedProxies 10.0.0.0/8, 192.0.2.1 ::1\r\nbind ::1\r\n"
            "queens a:2001 [::1]:2,b:3\r\nstickyCookie hive-1\r\ntrailingSlash on\r\n"
        )
        self.assertEqual((found.bind, found.sticky_cookie, found.slash), ("::1", "hive-1", True))
        self.assertFalse(parse_directives("trailingSlash off").slash)
        self.assertEqual(found.queens, ("a:2001", "[::1]:2", "b:3"))
        self.assertEqual((found.key_hash, found.port_http, found.webroot), (ARGON, 80, "/srv/acme"))
        self.assertEqual((found.certificate_directory, found.port_hypermail), ("/etc/certs", 443))
        self.assertEqual(
            (found.identity_path, found.access_log, found.access_log_format), ("/etc/queen", "/var/log/a", "json")
        )
        self.assertEqual(found.status_port, 9000)
        self.assertEqual(found.trusted_proxies, tuple(map(ip_network, ("10.0.0.0/8", "192.0.2.1/32", "::1/128"))))

    def test_wrong(self) -> None:
        """A wrong line is named by its number, with what would be right."""
        for text, said in (
            ("\n\nportHttp 0", "hlhv.conf, line 3: portHttp: '0' is no port"),
            ("portHttps 65536", "line 1: portHttps: '65536' is no port, 1 to 65535"),
            ("portHttps +443", "no port"),
            ("portHttps ٤٤٣", "no port"),
            ("porthttps 1", "line 1: there is no 'porthttps'; is it portHttps?"),
            ("colour red", "there is no 'colour'"),
            ("timeout 0", "timeout: '0' are no seconds"),
            ("timeout -1", "no seconds"),
            ("timeout inf", "no seconds"),
            ("timeout 1e9", "no seconds"),
            ("keyPath", "keyPath has no value"),
            ("bind localhost", "bind: 'localhost' is no address, as 127.0.0.1 or ::"),
            ("queens a", "queens: "),
            ("trailingSlash yes", "trailingSlash: it takes on or off, not 'yes'"),
            ("stickyCookie a=b", "stickyCookie: 'a=b' is no name of a cookie"),
            ("keyPath a\nkeyPath b", "line 2: keyPath is in line 1 already"),
            ("connKey secret", "connKey: it takes a hash of bcrypt or Argon2id; `hypermail hive-key` makes one"),
            (f"connKey {BCRYPT}x", "it takes a hash"),
            ("alias a b", "it takes two hosts, as alias"),
            ("alias a -> ", "it takes two hosts"),
            ("unalias a", "there is no alias 'a'"),
            (
                "accessLog a\naccessLogFormat xml",
                "line 2: accessLogFormat: there is no format 'xml'; there is combined and json",
            ),
            (
                "trustedProxies 10.0.0.1/8",
                "trustedProxies: 10.0.0.1/8 has host bits set; it takes addresses or networks",
            ),
            ("webroot /a", "line 1: webroot needs portHttp"),
            ("\nportHypermail 1", "line 2: portHypermail needs identityPath"),
            ("accessLogFormat json", "accessLogFormat needs accessLog"),
            ("portHttp 443", "portHttps and portHttp are both 443"),
            ("statusPort 2001", "portHlhv and statusPort are both 2001"),
        ):
            error = self.assertRaises(UsageError, parse_directives, text, "hlhv.conf")
            self.assertIn(said, error.text)
            self.assertTrue(error.text.startswith("hlhv.conf"))

    def test_alias_case(self) -> None:
        """Hosts are of one case, also where an alias is taken back."""
        self.assertNotIn("localhost", parse_directives("unalias LocalHost").aliases)

    def test_udp(self) -> None:
        """UDP's ports are others than TCP's."""
        self.assertEqual(parse_directives("portHypermail 443\nidentityPath x").port_hypermail, 443)

    @given(st.text(st.sampled_from("aliaskeyPth 0123#\n\t->.()portHlv"), max_size=60))
    def test_anything(self, text: str) -> None:
        """Any text is directives or L{UsageError}."""
        try:
            parse_directives(text)
        except UsageError as error:
            self.assertTrue(error.text)
