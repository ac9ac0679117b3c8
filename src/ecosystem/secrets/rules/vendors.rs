//! Tokens without a mark of their own: they are found where they are assigned to something named after their vendor
//! (`datadog_api_key = "…"`).
//!
//! Owns which vendor has which shapes. Sources: the vendors' own descriptions, and what they hand out.

use std::ops::Range;

use super::{alnum, any_hex, dashed, dashed_padded, dotted_padded, mixed, plausible, run};

/// A shape: what a token begins with, the bytes of the rest, and how many.
type Shape = (&'static str, fn(u8) -> bool, Range<usize>);

/// Vendors by their names in lower case, which any case stands for.
#[rustfmt::skip]
pub(super) static VENDORS: &[(&[&str], &[Shape])] = &[
    (&["adafruit"], &[("", dashed, 32..33)]),
    (&["adobe"], &[("", any_hex, 32..33)]),
    (&["airtable"], &[("", alnum, 17..18)]),
    (&["algolia"], &[("", alnum, 32..33)]),
    (&["alibaba"], &[("", alnum, 30..31)]),
    (&["artifactory", "bintray", "jfrog", "xray"], &[("", alnum, 64..65), ("", alnum, 73..74)]),
    (&["asana"], &[("", alnum, 32..33)]),
    (&["atlassian", "confluence", "jira"], &[("", alnum, 24..25), ("ATATT3", dashed_padded, 186..187)]),
    (&["beamer"], &[("b_", dashed_padded, 44..45)]),
    (&["bitbucket"], &[("", alnum, 32..33), ("", dashed_padded, 64..65)]),
    (&["bittrex"], &[("", alnum, 32..33)]),
    (&["cloudflare"], &[("", dashed_padded, 40..41), ("", any_hex, 37..38)]),
    (&["codecov"], &[("", alnum, 32..33), ("", uuid, 36..37)]),
    (&["cohere", "co_api_key"], &[("", alnum, 40..41)]),
    (&["coinbase"], &[("", dashed, 64..65)]),
    (&["confluent"], &[("", alnum, 64..65), ("", alnum, 16..17)]),
    (&["contentful"], &[("", dashed_padded, 43..44)]),
    (&["datadog"], &[("", alnum, 40..41)]),
    (&["discord"], &[("", any_hex, 64..65), ("", dashed_padded, 32..33)]),
    (&["droneci"], &[("", alnum, 32..33)]),
    (&["dropbox"], &[("", alnum, 15..16), ("sl.", dashed_padded, 135..136), ("", dashed_padded, 64..65)]),
    (&["etsy"], &[("", alnum, 24..25)]),
    (&["facebook"], &[("", any_hex, 32..33)]),
    (&["fastly"], &[("", dashed_padded, 32..33)]),
    (&["finicity"], &[("", alnum, 20..21), ("", any_hex, 32..33)]),
    (&["finnhub"], &[("", alnum, 20..21)]),
    (&["flickr"], &[("", alnum, 32..33)]),
    (&["freshbooks"], &[("", alnum, 64..65)]),
    (&["gitter"], &[("", dashed, 40..41)]),
    (&["gocardless"], &[("live_", dashed_padded, 40..41)]),
    (&["heroku"], &[("", uuid, 36..37)]),
    (&["hubspot"], &[("", uuid, 36..37)]),
    (&["intercom"], &[("", dashed_padded, 60..61)]),
    (&["kraken"], &[("", slashed, 80..91)]),
    (&["kucoin"], &[("", any_hex, 24..25), ("", uuid, 36..37)]),
    (&["launchdarkly"], &[("", dashed_padded, 40..41)]),
    (&["linear"], &[("", any_hex, 32..33)]),
    (&["linkedin", "linked_in", "linked-in"], &[("", alnum, 16..17), ("", alnum, 14..15)]),
    (&["lob"], &[("live_pub_", any_hex, 31..32), ("test_pub_", any_hex, 31..32), ("live_", any_hex, 35..36), ("test_", any_hex, 35..36)]),
    (&["looker"], &[("", alnum, 20..21), ("", alnum, 24..25)]),
    (&["mailchimp"], &[("", dashed, 37..38)]),
    (&["mailgun"], &[("key-", any_hex, 32..33), ("pubkey-", any_hex, 32..33), ("", dashed, 50..51)]),
    (&["mapbox"], &[("pk.", dotted_padded, 83..84)]),
    (&["mattermost"], &[("", alnum, 26..27)]),
    (&["meraki"], &[("", any_hex, 40..41)]),
    (&["messagebird", "message_bird", "message-bird"], &[("", alnum, 25..26), ("", uuid, 36..37)]),
    (&["netlify"], &[("", dashed_padded, 40..47)]),
    (&["newrelic", "new-relic", "new_relic"], &[("", alnum, 64..65), ("NRJS-", any_hex, 19..20)]),
    (&["newyorktimes", "new-york-times", "nytimes"], &[("", dashed_padded, 32..33)]),
    (&["okta"], &[("00", dashed_padded, 40..41)]),
    (&["plaid"], &[("", alnum, 24..25), ("", alnum, 30..31)]),
    (&["privateai", "private_ai", "private-ai"], &[("", alnum, 32..33)]),
    (&["rapidapi"], &[("", dashed, 50..51)]),
    (&["sendbird"], &[("", any_hex, 40..41), ("", uuid, 36..37)]),
    (&["sentry"], &[("", any_hex, 64..65)]),
    (&["contribsys__com"], &[("", sidekiq, 17..18)]),
    (&["snyk"], &[("", uuid, 36..37)]),
    (&["sonar"], &[("", dashed_padded, 40..45)]),
    (&["squarespace"], &[("", uuid, 36..37)]),
    (&["sumo"], &[("su", alnum, 12..13), ("", alnum, 64..65)]),
    (&["travis"], &[("", alnum, 22..23)]),
    (&["trello"], &[("", dashed, 32..33)]),
    (&["twitch"], &[("", alnum, 30..31)]),
    (&["twitter"], &[("", alnum, 25..26), ("", alnum, 45..46), ("", alnum, 50..51), ("", dashed, 36..67), ("AAAAAAAAAAAAAAAAAAAAAA", escaped, 80..101)]),
    (&["yandex"], &[("YC", dashed, 38..39), ("t1.", dotted_padded, 88..300)]),
    (&["zendesk"], &[("", alnum, 40..41)]),
];

fn slashed(byte: u8) -> bool {
    dashed_padded(byte) || byte == b'/' || byte == b'+'
}

fn escaped(byte: u8) -> bool {
    alnum(byte) || byte == b'%'
}

fn uuid(byte: u8) -> bool {
    any_hex(byte) || byte == b'-'
}

fn sidekiq(byte: u8) -> bool {
    any_hex(byte) || byte == b':'
}

/// The token that is assigned to the name at `name`, if it has one of the shapes.
pub(super) fn assigned(text: &[u8], name: &Range<usize>, shapes: &[Shape]) -> Option<Range<usize>> {
    let start = value(text, name.end)?;
    shapes.iter().find_map(|(prefix, alphabet, length)| {
        let rest = text.get(start..)?.strip_prefix(prefix.as_bytes())?;
        let end = run(rest, 0, alphabet).end;
        let token = rest.get(..end)?;
        let fits = length.contains(&end) && ends(rest.get(end)) && random(token);
        fits.then(|| start..start + prefix.len() + end)
    })
}

/// Where the value begins: behind the rest of the name, perhaps a type, and an operator.
fn value(text: &[u8], from: usize) -> Option<usize> {
    const NAME: usize = 40;
    const OPERATORS: [&[u8]; 9] = [b":=", b"=>", b"==", b"?=", b"||", b"=", b":", b">", b","];
    let skip = |at: usize, most: usize, of: fn(u8) -> bool| at + run(text, at, of).len().min(most);
    let at = skip(from, NAME, |b| {
        dashed(b) || matches!(b, b'.' | b' ' | b'\t')
    });
    let at = skip(at, 3, |b| matches!(b, b'\'' | b'"' | b' ' | b']' | b')'));
    let here = text.get(at..)?;
    let operator = OPERATORS
        .iter()
        .find(|operator| here.starts_with(operator))?;
    Some(skip(at + operator.len(), 5, |b| {
        matches!(b, b'`' | b'\'' | b'"' | b'=' | b'(') || b.is_ascii_whitespace()
    }))
}

/// Whether a value may end before this byte.
fn ends(next: Option<&u8>) -> bool {
    next.is_none_or(|b| b"`'\"; \t\r\n\\,)]}<&".contains(b))
}

/// Whether a token looks like chance: plausible, and with digits as well as letters, or with letters of mixed case. A
/// short one with a single digit may be a name.
fn random(token: &[u8]) -> bool {
    let enough = if token.len() < 20 { 2 } else { 1 };
    let digits = token.iter().filter(|b| b.is_ascii_digit()).count();
    let letters = token.iter().filter(|b| b.is_ascii_alphabetic()).count();
    letters >= 2 && (digits >= enough || mixed(token)) && plausible(token)
}
