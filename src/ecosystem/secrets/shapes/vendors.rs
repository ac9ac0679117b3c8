//! Tokens of single vendors that are more than a prefix and a run of letters.

use std::ops::Range;

use super::plain::token;
use crate::ecosystem::secrets::alphabets::{
    alnum, any_hex, base64, dashed, dashed_padded, digit, dotted, dotted_padded, hex, padded, run,
    run_back, slashed, starts_word, underscored, upper_alnum, window,
};
use crate::ecosystem::secrets::chance::{changes, different, mixed, plausible};
use crate::ecosystem::secrets::named::value;

const MANY: usize = 4096;

pub(crate) fn aws_id(text: &[u8], literal: Range<usize>) -> Option<Range<usize>> {
    let range = token(text, literal.clone(), upper_alnum, &(16..17))?;
    let ends_word = !text.get(range.end).is_some_and(|b| dashed(*b));
    let body = &text[literal.end..range.end];
    // `ASIAPACIFIC…` is a word, not an id: it has no digits and many vowels.
    let vowels = body.iter().filter(|b| b"AEIOU".contains(b)).count();
    let is_word =
        text[literal].starts_with(b"AS") && vowels >= 6 && body.iter().all(u8::is_ascii_uppercase);
    (ends_word && !is_word).then_some(range)
}

/// Forty bytes of base64 soon after the id or the name of the setting. A commit id has forty as well, all of them hex.
pub(crate) fn aws_secret(text: &[u8], literal: Range<usize>) -> Option<Range<usize>> {
    let is_id = literal.len() == 4;
    let start = if is_id {
        aws_id(text, literal)?.end
    } else {
        literal.end
    };
    let near = window(text, start, if is_id { 200 } else { 40 });
    let end = start + near.len();
    let mut at = start;
    while at < end {
        let found = run(text, at, base64);
        let body = &text[found.clone()];
        if body.len() == 40 && mixed(body) && different(body) >= 16 && plausible(body) {
            return Some(found);
        }
        at = found.end + 1;
    }
    None
}

/// `xoxb-123…-456…-secret`, `xapp-1-A0…-123…-secret`.
pub(crate) fn slack(text: &[u8], literal: Range<usize>) -> Option<Range<usize>> {
    let range = run(text, literal.end, dashed);
    let body = &text[range.clone()];
    let secret = body.rsplit(|b| *b == b'-').next().unwrap_or_default();
    let chance = secret.len() >= 10 && secret.iter().any(u8::is_ascii_digit) && plausible(secret);
    let right = (20..MANY).contains(&body.len()) && body[0].is_ascii_digit();
    (right && chance && starts_word(text, literal.start)).then_some(literal.start..range.end)
}

/// Of workspaces, not made any more: numbers and a secret, or the secret alone.
pub(crate) fn slack_legacy(text: &[u8], literal: Range<usize>) -> Option<Range<usize>> {
    let body = run(text, literal.end, dashed);
    let secret = text[body.clone()].rsplit(|b| *b == b'-').next()?;
    let only = secret.len() == body.len();
    let chance = secret.len() >= 10 && secret.iter().any(u8::is_ascii_digit) && plausible(secret);
    let right = (only || text[body.start].is_ascii_digit()) && starts_word(text, literal.start);
    (right && chance).then_some(literal.start..body.end)
}

/// `services/T…/B…/secret`; those of workflows and triggers have one part more. Some have lost their separators.
pub(crate) fn slack_webhook(text: &[u8], literal: Range<usize>) -> Option<Range<usize>> {
    let path = run(text, literal.end, base64);
    let mut parts = text[path.clone()].split(|b| *b == b'/');
    let kind = parts.next()?;
    let team = parts.next()?;
    let Some(secret) = parts.next_back() else {
        let whole = (43..=57).contains(&team.len()) && plausible(team);
        return whole.then_some(path);
    };
    let known = [&b"services"[..], b"workflows", b"triggers"].contains(&kind);
    let right = matches!(team.first(), Some(b'T' | b'E')) && parts.count() > 0;
    (known && right && team.len() >= 8 && secret.len() >= 20 && plausible(secret)).then_some(path)
}

pub(crate) fn crates_io(text: &[u8], literal: Range<usize>) -> Option<Range<usize>> {
    let range = token(text, literal.clone(), alnum, &(32..33))?;
    // Three letters are a thin anchor: inside base64 they would turn up by chance.
    let foreign = |b: &u8| base64(*b) || dashed(*b) || *b == b'=';
    let before = literal.start.checked_sub(1).and_then(|at| text.get(at));
    let after = text.get(range.end);
    let quoted_assignment = before == Some(&b'=');
    let alone = (quoted_assignment || !before.is_some_and(foreign)) && !after.is_some_and(foreign);
    (alone && mixed(&text[literal.end..range.end])).then_some(range)
}

pub(crate) fn sendgrid(text: &[u8], literal: Range<usize>) -> Option<Range<usize>> {
    let range = token(text, literal.clone(), dotted_padded, &(66..67))?;
    let body = &text[literal.end..range.end];
    (changes(body) >= 8).then_some(range)
}

/// `SK` and 32 hex digits: only beside the vendor's name, either side of it.
pub(crate) fn twilio(text: &[u8], literal: Range<usize>) -> Option<Range<usize>> {
    const REACH: usize = 200;
    let start = literal.start.saturating_sub(REACH);
    let near = window(text, start, literal.end + REACH - start);
    let keys = near.windows(2).enumerate().filter(|(_, w)| *w == b"SK");
    let places = keys.map(|(at, _)| start + at..start + at + 2);
    places
        .filter_map(|place| token(text, place, hex, &(32..33)))
        .find(|range| !text.get(range.end).is_some_and(|b| alnum(*b)))
}

/// `123456789:AA…`: the id of the bot, then 35 characters.
pub(crate) fn telegram(text: &[u8], literal: Range<usize>) -> Option<Range<usize>> {
    let start = run_back(text, literal.start, |b| b.is_ascii_digit());
    let body = run(text, literal.start + 1, dashed);
    let right = (5..=16).contains(&(literal.start - start)) && body.len() == 35;
    // The vendor's URLs hold it as `/bot123456789:AA…/method`.
    let starts = starts_word(text, start) || text[..start].ends_with(b"/bot");
    let secret = &text[body.clone()];
    (right && starts && plausible(secret) && mixed(secret)).then_some(start..body.end)
}

/// The older form: `sk-`, 20 characters, the marker, 20 characters. The marker is in the newer forms as well.
pub(crate) fn openai(text: &[u8], literal: Range<usize>) -> Option<Range<usize>> {
    let start = run_back(text, literal.start, dashed);
    let end = run(text, literal.end, dashed).end;
    let key = &text[start..end];
    (key.starts_with(b"sk-") && key.len() >= 40 && plausible(key)).then_some(start..end)
}

pub(crate) fn hugging_face(text: &[u8], literal: Range<usize>) -> Option<Range<usize>> {
    let range = token(text, literal.clone(), underscored, &(34..35))?;
    let body = &text[literal.end..range.end];
    let cases = |class: fn(&u8) -> bool| body.iter().any(class);
    let chance = cases(u8::is_ascii_uppercase) && cases(u8::is_ascii_lowercase);
    (chance && body.iter().all(|b| alnum(*b))).then_some(range)
}

pub(crate) fn vault(text: &[u8], literal: Range<usize>) -> Option<Range<usize>> {
    /// Longer than the name of any method.
    const LONG: usize = 90;
    let range = token(text, literal.clone(), dashed, &(24..MANY))?;
    let body = &text[literal.end..range.end];
    (body.len() >= LONG || mixed(body)).then_some(range)
}

/// `API-` and 26 capitals and digits; four letters that are a word as well.
pub(crate) fn octopus(text: &[u8], literal: Range<usize>) -> Option<Range<usize>> {
    let range = token(text, literal.clone(), upper_alnum, &(26..27))?;
    let digits = text[literal.end..range.end]
        .iter()
        .filter(|b| b.is_ascii_digit());
    (digits.count() >= 2).then_some(range)
}

/// `ico-` is also the end of a file name that has a hash behind it, which has no capitals.
pub(crate) fn infracost(text: &[u8], literal: Range<usize>) -> Option<Range<usize>> {
    let range = token(text, literal.clone(), alnum, &(32..33))?;
    mixed(&text[literal.end..range.end]).then_some(range)
}

/// `sntrys_`, the settings in base64, `_`, 43 characters.
pub(crate) fn sentry(text: &[u8], literal: Range<usize>) -> Option<Range<usize>> {
    let settings = run(text, literal.end, padded);
    let secret = run(text, settings.end + 1, padded);
    let right = settings.len() >= 60 && text.get(settings.end) == Some(&b'_') && secret.len() == 43;
    (right && starts_word(text, literal.start) && plausible(&text[secret.clone()]))
        .then_some(literal.start..secret.end)
}

/// Fourteen characters, `.atlasv1.`, 60 or more.
pub(crate) fn terraform(text: &[u8], literal: Range<usize>) -> Option<Range<usize>> {
    let start = run_back(text, literal.start, alnum);
    let body = run(text, literal.end, dashed_padded);
    let right = literal.start - start == 14 && body.len() >= 60;
    (right && starts_word(text, start) && plausible(&text[body.clone()])).then_some(start..body.end)
}

/// Six characters, `_`, 29, `_mmk`.
pub(crate) fn maxmind(text: &[u8], literal: Range<usize>) -> Option<Range<usize>> {
    let start = run_back(text, literal.start, underscored);
    let body = &text[start..literal.start];
    let right = body.len() == 36 && body[6] == b'_';
    let ends = !text.get(literal.end).is_some_and(|b| dashed(*b));
    (right && ends && plausible(body)).then_some(start..literal.end)
}

/// Three characters, a digit, `Q~`, 31 to 34 characters.
pub(crate) fn azure_client(text: &[u8], literal: Range<usize>) -> Option<Range<usize>> {
    let start = literal.start.checked_sub(4)?;
    let of_it = |b: u8| dotted(b) || b == b'~';
    let head = &text[start..literal.start];
    let body = run(text, literal.end, of_it);
    let apart = start == 0 || !of_it(text[start - 1]);
    let right = apart && head.iter().all(|b| of_it(*b)) && head[3].is_ascii_digit();
    let secret = &text[body.clone()];
    (right && (31..=34).contains(&body.len()) && mixed(secret) && plausible(secret))
        .then_some(start..body.end)
}

pub(crate) fn azure(text: &[u8], literal: Range<usize>) -> Option<Range<usize>> {
    /// The key of the storage emulator, the same for everyone.
    const EMULATOR: &[u8] = b"Eby8vdM02xNOcqFl";
    let near = window(text, literal.end, 8);
    let apart = near.iter().position(|b| base64(*b))?;
    let body = run(text, literal.end + apart, base64);
    let key = &text[body.clone()];
    let padded = window(text, body.end, 2) == b"==";
    (key.len() == 86 && padded && !key.starts_with(EMULATOR) && plausible(key)).then_some(body)
}

/// `s.` and 24 letters, as Vault's older versions gave them out; `s.` is also how many a method's name begins.
pub(crate) fn vault_legacy(text: &[u8], literal: Range<usize>) -> Option<Range<usize>> {
    let range = token(text, literal.clone(), alnum, &(24..25))?;
    let body = &text[literal.end..range.end];
    let digits = body.iter().filter(|b| b.is_ascii_digit()).count();
    let ends = !text.get(range.end).is_some_and(|b| b".([=_-".contains(b));
    (ends && digits >= 2 && mixed(body) && changes(body) >= 8).then_some(range)
}

/// The id of an app, `|`, and its secret.
pub(crate) fn facebook(text: &[u8], literal: Range<usize>) -> Option<Range<usize>> {
    let start = run_back(text, literal.start, digit);
    let secret = run(text, literal.end, dashed);
    let right = (15..=16).contains(&(literal.start - start)) && (27..=40).contains(&secret.len());
    let body = &text[secret.clone()];
    (right && starts_word(text, start) && mixed(body) && plausible(body))
        .then_some(start..secret.end)
}

/// A service, its key, `.acc_` and the account, the secret.
pub(crate) fn authress(text: &[u8], literal: Range<usize>) -> Option<Range<usize>> {
    const KINDS: [&[u8]; 4] = [b"sc_", b"ext_", b"scauth_", b"authress_"];
    let start = run_back(text, literal.start, dotted);
    let account = run(text, literal.end, dashed);
    let secret = run(text, account.end + 1, slashed);
    let known = KINDS.iter().any(|kind| text[start..].starts_with(kind));
    let right = text.get(account.end) == Some(&b'.') && secret.len() >= 30;
    (known && right && plausible(&text[secret.clone()])).then_some(start..secret.end)
}

/// Eight hexadecimal digits, `:`, and eight more before the host of the vendor's packages.
pub(crate) fn sidekiq(text: &[u8], literal: Range<usize>) -> Option<Range<usize>> {
    let start = run_back(text, literal.start, |b| any_hex(b) || b == b':');
    sidekiq_pair(&text[start..literal.start]).then_some(start..literal.start)
}

/// The same pair as the value of a setting.
pub(crate) fn sidekiq_setting(text: &[u8], literal: Range<usize>) -> Option<Range<usize>> {
    let (_, start) = value(text, literal.end, 40)?;
    let pair = run(text, start, |b| any_hex(b) || b == b':');
    sidekiq_pair(&text[pair.clone()]).then_some(pair)
}

fn sidekiq_pair(pair: &[u8]) -> bool {
    let halves: Vec<&[u8]> = pair.split(|b| *b == b':').collect();
    halves.len() == 2
        && halves
            .iter()
            .all(|half| half.len() == 8 && different(half) > 2)
}

/// `EAAA` and 22 to 60 more; base64 of small numbers begins like this as well, and goes on with more of it.
pub(crate) fn square(text: &[u8], literal: Range<usize>) -> Option<Range<usize>> {
    let range = token(text, literal.clone(), dashed, &(22..61))?;
    let body = &text[literal.end..range.end];
    let ends = !text.get(range.end).is_some_and(|b| b"+/=".contains(b));
    (ends && mixed(body) && changes(body) >= 6 && !body.starts_with(b"A")).then_some(range)
}

/// The team's ids, `/IncomingWebhook/`, 32 letters, an id.
pub(crate) fn teams(text: &[u8], literal: Range<usize>) -> Option<Range<usize>> {
    let path = run(text, literal.end, |b| dashed(b) || matches!(b, b'/' | b'@'));
    let mut parts = text[path.clone()].split(|b| *b == b'/');
    let ids = parts.next()?;
    let kind = parts.next()?;
    let secret = parts.next()?;
    let right = ids.len() == 73 && kind == b"IncomingWebhook" && secret.len() == 32;
    (right && plausible(secret)).then_some(path)
}
