//! Secrets without a mark of their own: they are found where they are assigned to something named after their vendor
//! (`datadog_api_key = "…"`), or named a secret.
//!
//! Owns which vendor has which shapes. Sources: the vendors' own descriptions, and what they hand out.

use std::ops::Range;

use super::alphabets::{
    alnum, any_hex, base64, dashed, dashed_padded, digit, dotted_padded, run, run_back, slashed,
};
use super::chance::{changes, different, holds_row, mixed, plausible};

/// A shape: what a token begins with, the bytes of the rest, and how many.
pub(super) type Shape = (&'static str, fn(u8) -> bool, Range<usize>);

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
    (&["discord"], &[("", any_hex, 64..65), ("", dashed_padded, 32..33), ("", digit, 32..33)]),
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
    (&["lob"], &[("live_", any_hex, 35..36), ("test_", any_hex, 35..36)]),
    (&["looker"], &[("", alnum, 20..21), ("", alnum, 24..25)]),
    (&["mailchimp"], &[("", dashed, 37..38)]),
    (&["mailgun"], &[("key-", any_hex, 32..33), ("", dashed, 50..51)]),
    (&["mapbox"], &[("sk.", dotted_padded, 83..84)]),
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
    (&["snyk"], &[("", uuid, 36..37)]),
    (&["sonar"], &[("", dashed_padded, 40..45)]),
    (&["sourcegraph"], &[("", any_hex, 40..41)]),
    (&["squarespace"], &[("", uuid, 36..37)]),
    (&["sumo"], &[("su", alnum, 12..13), ("", alnum, 64..65)]),
    (&["travis"], &[("", alnum, 22..23)]),
    (&["trello"], &[("", dashed, 32..33)]),
    (&["twitch"], &[("", alnum, 30..31)]),
    (&["twitter"], &[("", alnum, 25..26), ("", alnum, 45..46), ("", alnum, 50..51), ("", dashed, 36..67), ("AAAAAAAAAAAAAAAAAAAAAA", escaped, 60..101)]),
    (&["yandex"], &[("YC", dashed, 38..39), ("t1.", dotted_padded, 88..300)]),
    (&["zendesk"], &[("", alnum, 40..41)]),
];

/// What vendors call an id or a public key.
#[rustfmt::skip]
pub(super) static IDS: &[(&[&str], &[Shape])] = &[
    (&["asana"], &[("", digit, 16..17)]),
    (&["discord"], &[("", digit, 18..19)]),
    (&["lob"], &[("live_pub_", any_hex, 31..32), ("test_pub_", any_hex, 31..32)]),
    (&["mailgun"], &[("pubkey-", any_hex, 32..33)]),
    (&["mapbox"], &[("pk.", dotted_padded, 83..84)]),
];

/// What people call a secret.
#[rustfmt::skip]
pub(super) const WORDS: &[&str] = &[
    "access_key", "access-key", "accesskey", "api_key", "api-key", "apikey", "auth_key", "auth-key", "authkey",
    "credential", "credentials", "creds", "passwd", "password", "private_key", "private-key", "privatekey", "secret",
    "secret_key", "token", "user_auth",
];

fn escaped(byte: u8) -> bool {
    base64(byte) || matches!(byte, b'%' | b'=')
}

fn uuid(byte: u8) -> bool {
    any_hex(byte) || byte == b'-'
}

/// The token that is assigned to the name at `name`, if it has one of the shapes.
pub(super) fn token(text: &[u8], name: &Range<usize>, shapes: &[Shape]) -> Option<Range<usize>> {
    if !is_name(text.get(name.clone())?) {
        return None;
    }
    let (_, start) = value(text, name.end, 40)?;
    shapes.iter().find_map(|(prefix, alphabet, length)| {
        let rest = text.get(start..)?.strip_prefix(prefix.as_bytes())?;
        let end = run(rest, 0, alphabet).end;
        let token = rest.get(..end)?;
        let right = if alphabet(b'a') { random } else { plausible };
        let fits = length.contains(&end) && ends(rest.get(end)) && right(token);
        fits.then(|| start..start + prefix.len() + end)
    })
}

/// Whether people write the name so: in letters of one case, or with a capital first. Across the parts of another
/// name the case changes inside: `SetSysctl`.
fn is_name(name: &[u8]) -> bool {
    name[0].is_ascii_uppercase() || !name.iter().any(u8::is_ascii_uppercase)
}

/// The value that is assigned to something with this word in its name, if it looks like chance.
pub(super) fn secret(text: &[u8], word: &Range<usize>) -> Option<Range<usize>> {
    /// Shorter ones are rather words and numbers.
    const SHORTEST: usize = 20;
    let (name_end, start) = value(text, word.end, 20)?;
    let name_start = run_back(text, word.start, dashed).max(word.start.saturating_sub(40));
    let before = text.get(name_start..word.start)?;
    let behind = text.get(word.end..name_end)?;
    let end = run(text, start, in_secret).end;
    let value = text.get(start..end)?;
    let right = is_name(text.get(word.clone())?)
        && !says(before, &["public", "csrf", "xsrf", "cancellation", "page"])
        && !says(behind, &NO_SECRETS)
        && (SHORTEST..=150).contains(&value.len())
        && ends(text.get(end));
    (right && scattered(value)).then_some(start..end)
}

/// Names that end like this hold something about a secret.
const NO_SECRETS: [&str; 10] = [
    "id", "hash", "name", "url", "file", "path", "type", "version", "arn", "uri",
];

fn says(name: &[u8], words: &[&str]) -> bool {
    let name = name.to_ascii_lowercase();
    let has = |word: &&str| name.windows(word.len()).any(|part| part == word.as_bytes());
    words.iter().any(has)
}

fn in_secret(byte: u8) -> bool {
    dotted_padded(byte) || base64(byte)
}

/// Whether letters of all kinds alternate: in names, words and dates they stand together.
fn scattered(value: &[u8]) -> bool {
    let digits = value.iter().filter(|b| b.is_ascii_digit()).count();
    let marks = value.iter().filter(|b| !alnum(**b)).count();
    let both = |class: fn(&u8) -> bool| value.iter().any(class);
    // Names in camel case change at each word.
    let share = if both(u8::is_ascii_lowercase) && both(u8::is_ascii_uppercase) {
        40
    } else {
        25
    };
    let enough = changes(value) * 100 >= value.len() * share && different(value) >= 10;
    enough && !holds_row(value, 9) && digits >= 2 && marks * 4 <= value.len() && random(value)
}

/// Where the rest of the name ends and where the value begins: behind perhaps a type, and an operator.
pub(super) fn value(text: &[u8], from: usize, name: usize) -> Option<(usize, usize)> {
    const OPERATORS: [&[u8]; 11] = [
        b":::=", b"::=", b":=", b"=>", b"==", b"?=", b"||", b"=", b":", b">", b",",
    ];
    let skip = |at: usize, most: usize, of: fn(u8) -> bool| at + run(text, at, of).len().min(most);
    let end = skip(from, name, |b| {
        dashed(b) || matches!(b, b'.' | b' ' | b'\t')
    });
    let at = skip(end, 3, |b| matches!(b, b'\'' | b'"' | b' ' | b']' | b')'));
    let here = text.get(at..)?;
    let operator = OPERATORS
        .iter()
        .find(|operator| here.starts_with(operator))?;
    let start = skip(at + operator.len(), 5, |b| {
        matches!(b, b'`' | b'\'' | b'"' | b'=' | b'(') || b.is_ascii_whitespace()
    });
    Some((end, start))
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
