use std::net::SocketAddr;

use http::{HeaderName, HeaderValue};
use proptest::prelude::*;

use super::*;
use crate::limit::key::PeerAddr;

const XFF: &str = "x-forwarded-for";
const FWD: &str = "forwarded";
const REAL: &str = "x-real-ip";

/// Header lines, peer, key, the address that is expected, and why.
type Row<'a> = (
    &'a [(&'a str, &'a [u8])],
    &'a str,
    &'a ClientIp,
    Option<&'a str>,
    &'a str,
);

fn request(lines: &[(&str, &[u8])], peer: &str) -> Request<()> {
    let mut request = Request::new(());
    for (name, value) in lines {
        request.headers_mut().append(
            HeaderName::from_bytes(name.as_bytes()).unwrap(),
            HeaderValue::from_bytes(value).unwrap(),
        );
    }
    if !peer.is_empty() {
        let peer = SocketAddr::new(ip(peer), 4711);
        request.extensions_mut().insert(PeerAddr(peer));
    }
    request
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn trusting() -> ClientIp {
    ClientIp::trusting(["10.0.0.0/8", "fd00::/8"]).unwrap()
}

fn check(rows: &[Row<'_>]) {
    for (lines, peer, key, expected, why) in rows {
        let found = key.address(&request(lines, peer));
        let sent: Vec<_> = lines
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.escape_ascii()))
            .collect();
        assert_eq!(
            found,
            expected.map(ip),
            "{why}\n  lines {sent:?}, peer {peer:?}, {key:?}"
        );
    }
}

#[test]
#[rustfmt::skip]
fn by_count() {
    let (none, one, two) = (&ClientIp::behind(0), &ClientIp::behind(1), &ClientIp::behind(2));
    let nobody = &ClientIp::behind(2).unreadable(OnInvalidHeader::NoKey);
    let many = &ClientIp::behind(65);
    let long = ["6.6.6.6"; 99].join(",");
    let p = "10.0.0.1";
    check(&[
        (&[(XFF, b"6.6.6.6")], "192.0.2.7", none, Some("192.0.2.7"),
            "without proxies, headers are the client's own"),
        (&[(XFF, b"6.6.6.6")], "", none, None, "without proxies and a peer, nobody is known"),
        (&[(XFF, b"192.0.2.7")], p, one, Some("192.0.2.7"), "the proxy wrote who connected"),
        (&[(XFF, b"192.0.2.7")], "", one, Some("192.0.2.7"),
            "a header that can be read needs no peer"),
        (&[(XFF, b"6.6.6.6, 192.0.2.7")], p, one, Some("192.0.2.7"),
            "spoofed: left of the proxy's entry"),
        (&[(XFF, b"6.6.6.6"), (XFF, b"192.0.2.7")], p, one, Some("192.0.2.7"),
            "spoofed: the proxy's is the last line"),
        (&[(XFF, b"6.6.6.6, 192.0.2.7, 10.0.0.2")], p, two, Some("192.0.2.7"),
            "chained: second from the right"),
        (&[(XFF, b"6.6.6.6, 192.0.2.7"), (XFF, b"10.0.0.2")], p, two, Some("192.0.2.7"),
            "chained over two lines"),
        (&[], p, one, Some(p), "missing: the peer is all that is known"),
        (&[], "", one, None, "missing, and no peer"),
        (&[(FWD, b"for=6.6.6.6")], p, one, Some(p),
            "a header that the proxy does not write is not read"),
        (&[(XFF, b"10.0.0.2")], p, two, Some("10.0.0.2"),
            "too short: the last entry is still a trusted proxy's word"),
        (&[(XFF, b"10.0.0.2")], p, nobody, None, "too short, and no key wanted"),
        (&[], p, nobody, None, "missing, and no key wanted"),
        (&[(XFF, b"6.6.6.6,")], p, one, Some(p), "an empty entry is garbled, not skipped"),
        (&[(XFF, b"6.6.6.6, , 10.0.0.2")], p, two, Some("10.0.0.2"),
            "an empty entry in the middle is not skipped"),
        (&[(XFF, b"6.6.6.6"), (XFF, b"")], p, one, Some(p), "an empty line is an empty entry"),
        (&[(XFF, b"6.6.6.6, unknown")], p, one, Some(p), "`unknown` is not passed over"),
        (&[(XFF, b"6.6.6.6, _hidden")], p, one, Some(p), "obfuscated is not passed over"),
        (&[(XFF, b"6.6.6.6, client.example")], p, one, Some(p), "a name is no address"),
        (&[(XFF, b"6.6.6.6, 192.0.2.7.1")], p, one, Some(p), "five numbers are no address"),
        (&[(XFF, b"6.6.6.6, 192.0.2.07")], p, one, Some(p), "octal or not, nobody knows"),
        (&[(XFF, b"\xff\xfe, 192.0.2.7")], p, one, Some("192.0.2.7"),
            "bytes beyond ASCII spoil their own entry only"),
        (&[(XFF, b"6.6.6.6, 192.0.2.\xff7")], p, one, Some(p), "bytes beyond ASCII are no address"),
        (&[(XFF, b"192.0.2.7:4711")], p, one, Some("192.0.2.7"), "IPv4 with a port"),
        (&[(XFF, b"192.0.2.7:99999")], p, one, Some(p), "no such port"),
        (&[(XFF, b"192.0.2.7:")], p, one, Some(p), "a port is missing"),
        (&[(XFF, b"192.0.2.7:+80")], p, one, Some(p), "a port has no sign"),
        (&[(XFF, b"2001:db8::7")], p, one, Some("2001:db8::7"), "bare IPv6"),
        (&[(XFF, b"[2001:db8::7]")], p, one, Some("2001:db8::7"), "IPv6 in brackets"),
        (&[(XFF, b"[2001:db8::7]:443")], p, one, Some("2001:db8::7"), "IPv6 with a port"),
        (&[(XFF, b"[2001:db8::7]443")], p, one, Some(p), "a port without its colon"),
        (&[(XFF, b"[2001:db8::7]]")], p, one, Some(p), "a bracket too many"),
        (&[(XFF, b"[2001:db8::7")], p, one, Some(p), "a bracket is missing"),
        (&[(XFF, b"[192.0.2.7]")], p, one, Some(p), "brackets are for IPv6"),
        (&[(XFF, b"fe80::7%eth0")], p, one, Some("fe80::7"), "a zone is dropped"),
        (&[(XFF, b"[fe80::7%25eth0]:443")], p, one, Some("fe80::7"), "an encoded zone is dropped"),
        (&[(XFF, b"fe80::7%")], p, one, Some(p), "an empty zone is garbled"),
        (&[(XFF, b"::ffff:192.0.2.7")], p, one, Some("192.0.2.7"), "IPv4 in disguise is IPv4"),
        (&[(XFF, b"[::ffff:c000:207]:80")], p, one, Some("192.0.2.7"),
            "IPv4 in hexadecimal disguise is IPv4"),
        (&[], "::ffff:10.0.0.1", one, Some(p), "a peer in disguise is folded as well"),
        (&[(XFF, b"6.6.6.6 ,\t 192.0.2.7 \t")], p, one, Some("192.0.2.7"),
            "whitespace around entries"),
        (&[(XFF, b"192.0.2.7 6.6.6.6")], p, one, Some(p), "two addresses are no entry"),
        (&[(XFF, b"\"192.0.2.7\"")], p, one, Some(p), "this header knows no quotes"),
        (&[(XFF, b"\"6.6.6.6, 192.0.2.7")], p, one, Some("192.0.2.7"),
            "nor does a quote hide the comma"),
        (&[(XFF, long.as_bytes()), (XFF, b"192.0.2.7")], p, one, Some("192.0.2.7"),
            "too long: not walked"),
        (&[(XFF, long.as_bytes()), (XFF, b"192.0.2.7")], p, many, Some("6.6.6.6"),
            "more than is ever read"),
    ]);
}

#[test]
#[rustfmt::skip]
fn by_network() {
    let key = &trusting();
    let nobody = &trusting().unreadable(OnInvalidHeader::NoKey);
    let p = "10.0.0.1";
    let inside = ["10.0.0.9"; 65].join(",");
    let most = ["10.0.0.9"; 64].join(",");
    check(&[
        (&[(XFF, b"6.6.6.6")], "192.0.2.7", key, Some("192.0.2.7"),
            "an untrusted peer is the client whatever it says"),
        (&[(XFF, b"10.0.0.1")], "192.0.2.7", nobody, Some("192.0.2.7"),
            "an untrusted peer is known"),
        (&[(XFF, b"192.0.2.7")], "", key, None, "without a peer, nobody can be trusted"),
        (&[(XFF, b"6.6.6.6, 192.0.2.7, 10.0.0.3, 10.0.0.2")], p, key, Some("192.0.2.7"),
            "chained: the first untrusted from the right"),
        (&[(XFF, b"6.6.6.6, 192.0.2.7"), (XFF, b"10.0.0.3, fd00::2")], p, key, Some("192.0.2.7"),
            "chained over lines and families"),
        (&[(XFF, b"10.0.0.5, 192.0.2.7")], p, key, Some("192.0.2.7"),
            "a client that claims to be a proxy"),
        (&[(XFF, b"10.0.0.4, 10.0.0.3")], p, key, Some("10.0.0.4"),
            "all trusted: the client is inside"),
        (&[(XFF, b"192.0.2.7, ::ffff:10.0.0.3")], "::ffff:10.0.0.1", key, Some("192.0.2.7"),
            "proxies in disguise are trusted"),
        (&[], p, key, Some(p), "missing: the peer"),
        (&[], p, nobody, None, "missing, and no key wanted"),
        (&[(XFF, b"6.6.6.6, unknown, 10.0.0.3, 10.0.0.2")], p, key, Some("10.0.0.3"),
            "unreadable: the last trusted one"),
        (&[(XFF, b"6.6.6.6,, 10.0.0.2")], p, nobody, None, "an empty entry is garbled"),
        (&[(XFF, most.as_bytes())], p, key, Some("10.0.0.9"), "just as long as is read"),
        (&[(XFF, most.as_bytes())], p, nobody, Some("10.0.0.9"),
            "just as long as is read, so readable"),
        (&[(XFF, inside.as_bytes())], p, nobody, None, "too long"),
        (&[(XFF, inside.as_bytes())], p, key, Some("10.0.0.9"),
            "too long: the last one that was read"),
    ]);
}

#[test]
#[rustfmt::skip]
fn by_forwarded() {
    let one = &ClientIp::behind(1).header(ForwardedBy::Forwarded);
    let two = &ClientIp::behind(2).header(ForwardedBy::Forwarded);
    let key = &trusting().header(ForwardedBy::Forwarded);
    let p = "10.0.0.1";
    check(&[
        (&[(FWD, b"for=192.0.2.7")], p, one, Some("192.0.2.7"), "the plainest form"),
        (&[(FWD, b"proto=https;FOR=192.0.2.7;by=10.0.0.1")], p, one, Some("192.0.2.7"),
            "names have no case, and any order"),
        (&[(FWD, b"for=\"192.0.2.7:4711\" ; proto=http")], p, one, Some("192.0.2.7"),
            "quoted with a port"),
        (&[(FWD, b"for=\"[2001:db8::7]:4711\"")], p, one, Some("2001:db8::7"),
            "quoted IPv6 with a port"),
        (&[(FWD, b"for=\"[2001:db8::7]:_p-1\"")], p, one, Some("2001:db8::7"),
            "a port may be hidden"),
        (&[(FWD, b"for=\"[2001:db8::7]:_\"")], p, one, Some(p), "a port is not hidden by nothing"),
        (&[(FWD, b"for=[2001:db8::7]")], p, one, Some("2001:db8::7"), "quotes that were forgotten"),
        (&[(FWD, b"for=6.6.6.6, for=192.0.2.7")], p, one, Some("192.0.2.7"),
            "spoofed: left of the proxy's element"),
        (&[(FWD, b"for=6.6.6.6, for=192.0.2.7"), (FWD, b"for=10.0.0.2")], p, two, Some("192.0.2.7"),
            "chained over two lines"),
        (&[(FWD, b"for=6.6.6.6, for=192.0.2.7, for=10.0.0.2")], p, key, Some("192.0.2.7"),
            "chained, by network"),
        (&[(FWD, b"for=\"6.6.6.6, for=192.0.2.7")], p, one, Some("192.0.2.7"),
            "an open quote swallows nothing"),
        (&[(FWD, b"for=\"6.6.6.6\\, for=\"192.0.2.7\"")], p, one, Some("192.0.2.7"),
            "nor does an open quote with a backslash"),
        (&[(FWD, b"for=\"6.6.6.6, for=\"192.0.2.7\"")], p, one, Some("192.0.2.7"),
            "nor before quotes of the proxy's own"),
        (&[(FWD, b"for=6.6.6.6\", for=10.0.0.2")], p, two, Some("10.0.0.2"),
            "a closing quote alone is garbled"),
        (&[(FWD, b"for=192.0.2.7;ext=\"a, for=6.6.6.6\"")], p, one, Some("192.0.2.7"),
            "a comma in quotes is text"),
        (&[(FWD, b"for=192.0.2.7;ext=\"a\\\", for=6.6.6.6\"")], p, one, Some("192.0.2.7"),
            "an escaped quote ends nothing"),
        (&[(FWD, b"for=192.0.2.7;ext=\"a\\\\\"")], p, one, Some("192.0.2.7"),
            "an escaped backslash escapes nothing"),
        (&[(FWD, b"for=192.0.2.7;ext=\";for=6.6.6.6\"")], p, one, Some("192.0.2.7"),
            "a semicolon in quotes is text"),
        (&[(FWD, b"for=6.6.6.6;for=192.0.2.7")], p, one, Some(p), "of two, nobody knows which"),
        (&[(FWD, b"for=6.6.6.6, proto=https;by=10.0.0.1")], p, one, Some(p),
            "an element that does not say is not passed over"),
        (&[(FWD, b"for=6.6.6.6, for=unknown")], p, one, Some(p), "`unknown` is not passed over"),
        (&[(FWD, b"for=6.6.6.6, for=\"_hidden\"")], p, one, Some(p),
            "obfuscated is not passed over"),
        (&[(FWD, b"for=6.6.6.6,")], p, one, Some(p), "an empty element is garbled"),
        (&[(FWD, b"for=6.6.6.6, for=\"")], p, one, Some(p), "a lone quote is garbled"),
        (&[(FWD, b"for=6.6.6.6, 192.0.2.7")], p, one, Some(p),
            "an address without its name is garbled"),
        (&[(FWD, b"\xff\", for=\"[::ffff:192.0.2.7]\"")], p, one, Some("192.0.2.7"),
            "bytes beyond ASCII spoil their own element only"),
        (&[(XFF, b"6.6.6.6")], p, one, Some(p), "another header is not read"),
    ]);
}

#[test]
#[rustfmt::skip]
fn by_x_real_ip() {
    let one = &ClientIp::behind(1).header(ForwardedBy::XRealIp);
    let two = &ClientIp::behind(2).header(ForwardedBy::XRealIp);
    let key = &trusting().header(ForwardedBy::XRealIp);
    let p = "10.0.0.1";
    check(&[
        (&[(REAL, b" 192.0.2.7 ")], p, one, Some("192.0.2.7"), "the proxy in front set it"),
        (&[(REAL, b"192.0.2.7")], p, key, Some("192.0.2.7"), "the trusted proxy in front set it"),
        (&[(REAL, b"10.0.0.9")], p, key, Some("10.0.0.9"), "the client may be inside"),
        (&[(REAL, b"6.6.6.6")], "192.0.2.7", key, Some("192.0.2.7"), "an untrusted peer set it"),
        (&[(REAL, b"6.6.6.6")], p, two, Some(p), "with two proxies, it is not the client's"),
        (&[(REAL, b"6.6.6.6"), (REAL, b"192.0.2.7")], p, one, Some(p),
            "of two lines, one is not the proxy's"),
        (&[(REAL, b"6.6.6.6, 192.0.2.7")], p, one, Some(p), "it is no list"),
        (&[(REAL, b"unknown")], p, one, Some(p), "`unknown` is no address"),
        (&[], p, one, Some(p), "missing: the peer"),
    ]);
}

#[test]
fn callers_are_counted_by_prefix() {
    let key = ClientIp::behind(1);
    let caller = |key: &ClientIp, line: &[u8]| {
        key.key(&request(&[(XFF, line)], ""))
            .map(|caller| caller.to_string())
    };
    assert_eq!(
        caller(&key, b"2001:db8::7").as_deref(),
        Some("2001:db8::/64")
    );
    assert_eq!(caller(&key, b"192.0.2.7").as_deref(), Some("192.0.2.7"));
    let key = key.prefix(24, 56);
    assert_eq!(
        caller(&key, b"2001:db8::7").as_deref(),
        Some("2001:db8::/56")
    );
    assert_eq!(
        caller(&key, b"::ffff:192.0.2.7").as_deref(),
        Some("192.0.2.0/24")
    );
    assert_eq!(caller(&key, b"unknown"), None);
}

#[test]
fn a_network_that_is_none_is_an_error() {
    let error = ClientIp::trusting(["10.0.0.0/8", "proxy"]).unwrap_err();
    assert_eq!(error.text, "proxy");
}

/// What an attacker puts into a header: anything that may stand there, and what parsers trip over
/// more often.
fn attack() -> impl Strategy<Value = Vec<u8>> {
    let pieces = prop_oneof![
        prop::sample::select(vec![
            "\"",
            "\\",
            ",",
            ";",
            "for=",
            "=",
            "[",
            "]",
            "%",
            " ",
            "\t",
            "6.6.6.6",
            "10.0.0.1",
            "for=\"6.6.6.6",
            "unknown",
            ":80",
            "::ffff:10.0.0.1",
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
        prop::collection::vec(prop_oneof![32u8..=126, 128u8..=255], 0..4),
    ];
    prop::collection::vec(pieces, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn nothing_in_front_of_what_proxies_wrote_is_believed(
        earlier in prop::collection::vec(attack(), 0..4),
        left in prop::option::of(attack()),
        client in any::<u128>(),
        v4 in any::<[u8; 4]>(),
        form in 0..3,
        split in any::<bool>(),
    ) {
        let client = match form {
            0 => IpAddr::from(v4),
            _ => IpAddr::from(client.to_be_bytes()).to_canonical(),
        };
        let proxies = Networks::new(["10.0.0.0/8", "fd00::/8"]).unwrap();
        prop_assume!(!proxies.contains(client));
        let element = match (client, form) {
            (IpAddr::V4(_), _) => format!("for={client};ext=\"a, \\\"b\\\\\""),
            (IpAddr::V6(_), 1) => format!("proto=https;for=\"[{client}]:80\""),
            (IpAddr::V6(_), _) => format!("for=\"[{client}]\""),
        };
        for (name, header, wrote, then) in [
            (XFF, ForwardedBy::XForwardedFor, client.to_string(), "10.0.0.2"),
            (FWD, ForwardedBy::Forwarded, element, "for=\"10.0.0.2:80\""),
        ] {
            let mut lines = earlier.clone();
            let mut last = left.clone().map_or_else(Vec::new, |mut left| {
                left.extend_from_slice(b", ");
                left
            });
            last.extend_from_slice(wrote.as_bytes());
            lines.push(last);
            let sent = |lines: &[Vec<u8>]| {
                let lines: Vec<_> = lines.iter().map(|line| (name, line.as_slice())).collect();
                request(&lines, "10.0.0.1")
            };
            let one = sent(&lines);
            prop_assert_eq!(ClientIp::behind(1).header(header).address(&one), Some(client));
            prop_assert_eq!(trusting().header(header).address(&one), Some(client));

            if split {
                lines.push(then.into());
            } else if let Some(last) = lines.last_mut() {
                last.extend_from_slice(format!(",{then}").as_bytes());
            }
            let two = sent(&lines);
            prop_assert_eq!(ClientIp::behind(2).header(header).address(&two), Some(client));
            prop_assert_eq!(trusting().header(header).address(&two), Some(client));
        }
    }
}
