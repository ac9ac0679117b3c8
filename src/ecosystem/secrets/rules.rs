//! The shapes of secrets, and the scanner that finds them in one pass.
//!
//! Every shape is anchored on a literal (`ghp_`, `-----BEGIN `). One automaton finds all literals; only there is the
//! shape of the rule looked at. A shape is narrow on purpose: exact alphabet, exact or minimal length, a boundary on
//! both sides, and a body that is no placeholder ([`plausible`]). Sources: the vendors' own descriptions of their
//! token formats.
//!
//! Not looked for, as too noisy: JSON web tokens, passwords in URLs, text that is merely random.

use std::ops::Range;

use aho_corasick::{AhoCorasick, BuildError, MatchKind};

/// One kind of secret.
#[derive(Debug)]
pub(super) struct Rule {
    /// The code of its findings; part of baseline lines, so it never changes.
    pub(crate) id: &'static str,
    pub(crate) what: &'static str,
    literals: &'static [&'static str],
    find: Find,
}

/// How a secret is recognised where a literal of its rule was found.
#[derive(Debug)]
enum Find {
    /// The literal is followed by so many bytes of an alphabet, and then by none.
    Token(fn(u8) -> bool, Range<usize>),
    /// The function gets the text and the place of the literal, and returns the place of the secret.
    With(fn(&[u8], Range<usize>) -> Option<Range<usize>>),
}

/// A secret that was found.
#[derive(Debug)]
pub(super) struct Hit {
    pub(crate) rule: &'static Rule,
    /// The bytes of the secret.
    pub(crate) range: Range<usize>,
}

const fn rule(
    id: &'static str,
    what: &'static str,
    literals: &'static [&'static str],
    find: Find,
) -> Rule {
    Rule {
        id,
        what,
        literals,
        find,
    }
}

const MANY: usize = 4096;

#[rustfmt::skip]
static RULES: &[Rule] = &[
    rule("private-key", "private key", &["-----BEGIN "], Find::With(pem)),
    rule("putty-private-key", "PuTTY private key", &["PuTTY-User-Key-File-"], Find::With(putty)),
    rule("age-secret-key", "age secret key", &["AGE-SECRET-KEY-1"], Find::Token(bech32, 58..59)),
    rule("aws-access-key-id", "AWS access key id", &["AKIA", "ASIA"], Find::With(aws_id)),
    rule("aws-secret-access-key", "AWS secret access key",
        &["AKIA", "ASIA", "SECRET_ACCESS_KEY", "secret_access_key", "secretAccessKey", "SecretAccessKey", "aws_secret_key", "AWS_SECRET_KEY"],
        Find::With(aws_secret)),
    rule("github-token", "GitHub token", &["ghp_", "gho_", "ghu_", "ghs_", "ghr_"], Find::Token(alnum, 36..256)),
    rule("github-token", "GitHub token", &["github_pat_"], Find::Token(underscored, 82..83)),
    rule("gitlab-token", "GitLab token", &["glpat-", "gldt-", "glrt-", "glptt-", "glcbt-"], Find::Token(dotted, 20..MANY)),
    rule("slack-token", "Slack token", &["xoxb-", "xoxp-", "xoxa-", "xoxr-", "xoxs-", "xoxe-", "xoxe.xoxb-", "xoxe.xoxp-", "xapp-"], Find::With(slack)),
    rule("slack-webhook", "Slack webhook", &["hooks.slack.com/services/"], Find::With(slack_webhook)),
    rule("stripe-key", "Stripe live key", &["sk_live_", "rk_live_"], Find::Token(alnum, 24..MANY)),
    rule("google-api-key", "Google API key", &["AIza"], Find::Token(dashed, 35..36)),
    rule("npm-token", "npm token", &["npm_"], Find::Token(alnum, 36..37)),
    rule("pypi-token", "PyPI token", &["pypi-AgEIcHlwaS5vcmc", "pypi-AgENdGVzdC5weXBpLm9yZw"], Find::Token(dashed, 50..MANY)),
    rule("crates-io-token", "crates.io token", &["cio"], Find::With(crates_io)),
    rule("docker-token", "Docker Hub token", &["dckr_pat_", "dckr_oat_"], Find::Token(dashed, 27..65)),
    rule("sendgrid-key", "SendGrid key", &["SG."], Find::With(sendgrid)),
    rule("twilio-key", "Twilio API key", &["twilio", "Twilio", "TWILIO"], Find::With(twilio)),
    rule("telegram-bot-token", "Telegram bot token", &[":AA"], Find::With(telegram)),
    rule("anthropic-key", "Anthropic key", &["sk-ant-"], Find::Token(dashed, 40..MANY)),
    rule("openai-key", "OpenAI key", &["sk-proj-", "sk-svcacct-", "sk-admin-"], Find::Token(dashed, 40..MANY)),
    rule("openai-key", "OpenAI key", &["T3BlbkFJ"], Find::With(openai)),
    rule("huggingface-token", "Hugging Face token", &["hf_"], Find::With(hugging_face)),
    rule("digitalocean-token", "DigitalOcean token", &["dop_v1_", "doo_v1_", "dor_v1_"], Find::Token(hex, 64..65)),
    rule("vault-token", "Vault token", &["hvs.", "hvb."], Find::With(vault)),
    rule("azure-storage-key", "Azure storage account key", &["AccountKey="], Find::With(azure)),
    rule("databricks-token", "Databricks token", &["dapi"], Find::Token(hex, 32..33)),
];

/// All rules, ready to be looked for.
#[derive(Debug)]
pub(super) struct Scanner {
    automaton: AhoCorasick,
    /// For each literal of the automaton, the rules anchored on it.
    rules: Vec<Vec<&'static Rule>>,
}

impl Scanner {
    pub(crate) fn new() -> Result<Self, BuildError> {
        let mut literals: Vec<&str> = Vec::new();
        let mut rules: Vec<Vec<&Rule>> = Vec::new();
        for rule in RULES {
            for literal in rule.literals {
                match literals.iter().position(|known| known == literal) {
                    Some(index) => rules[index].push(rule),
                    None => {
                        literals.push(literal);
                        rules.push(vec![rule]);
                    }
                }
            }
        }
        let automaton = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .build(literals)?;
        Ok(Self { automaton, rules })
    }

    /// All secrets of `text`, in order, each once.
    pub(crate) fn scan(&self, text: &[u8]) -> Vec<Hit> {
        let mut hits: Vec<Hit> = Vec::new();
        for found in self.automaton.find_iter(text) {
            for rule in self
                .rules
                .get(found.pattern().as_usize())
                .into_iter()
                .flatten()
            {
                let Some(range) = rule.find(text, found.range()) else {
                    continue;
                };
                let known = |hit: &Hit| hit.range.start < range.end && range.start < hit.range.end;
                if !hits.iter().any(known) {
                    hits.push(Hit { rule, range });
                }
            }
        }
        hits.sort_by_key(|hit| hit.range.start);
        hits
    }
}

impl Rule {
    fn find(&self, text: &[u8], literal: Range<usize>) -> Option<Range<usize>> {
        match &self.find {
            Find::Token(alphabet, length) => token(text, literal, *alphabet, length),
            Find::With(find) => find(text, literal),
        }
    }
}

fn token(
    text: &[u8],
    literal: Range<usize>,
    alphabet: fn(u8) -> bool,
    length: &Range<usize>,
) -> Option<Range<usize>> {
    if !starts_word(text, literal.start) {
        return None;
    }
    let body = run(text, literal.end, alphabet);
    let right = length.contains(&body.len()) && plausible(&text[body.clone()]);
    right.then_some(literal.start..body.end)
}

// Alphabets.

fn alnum(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
}

fn underscored(byte: u8) -> bool {
    alnum(byte) || byte == b'_'
}

fn dashed(byte: u8) -> bool {
    underscored(byte) || byte == b'-'
}

fn dotted(byte: u8) -> bool {
    dashed(byte) || byte == b'.'
}

fn base64(byte: u8) -> bool {
    alnum(byte) || byte == b'+' || byte == b'/'
}

fn hex(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

fn upper_alnum(byte: u8) -> bool {
    byte.is_ascii_uppercase() || byte.is_ascii_digit()
}

fn bech32(byte: u8) -> bool {
    upper_alnum(byte) && !matches!(byte, b'1' | b'B' | b'I' | b'O')
}

// Boundaries and bodies.

/// The longest run of the alphabet from `start` on.
fn run(text: &[u8], start: usize, alphabet: fn(u8) -> bool) -> Range<usize> {
    let rest = text.get(start..).unwrap_or_default();
    let length = rest.iter().position(|b| !alphabet(*b));
    start..start + length.unwrap_or(rest.len())
}

/// Whether no word reaches into `at` from the left. An escaped line break (`\n` in a string) ends a word.
fn starts_word(text: &[u8], at: usize) -> bool {
    match text.get(..at) {
        Some([.., b'\\', b'n' | b'r' | b't']) => true,
        Some([.., last]) => !dashed(*last),
        _ => true,
    }
}

/// Whether a body looks like chance, not like a placeholder: enough different bytes, no long repetition, none of the
/// words that documentation uses.
fn plausible(body: &[u8]) -> bool {
    const PLACEHOLDERS: [&[u8]; 6] = [
        b"example",
        b"xxxx",
        b"placeholder",
        b"redacted",
        b"changeme",
        b"your",
    ];
    let repeated = body.windows(6).any(|w| w.iter().all(|b| *b == w[0]));
    let lower = body.to_ascii_lowercase();
    let named = |word: &&[u8]| lower.windows(word.len()).any(|w| w == *word);
    !repeated && different(body) * 4 >= body.len().min(32) && !PLACEHOLDERS.iter().any(named)
}

fn different(body: &[u8]) -> usize {
    let mut seen = [false; 256];
    for byte in body {
        seen[usize::from(*byte)] = true;
    }
    seen.iter().filter(|seen| **seen).count()
}

/// Whether there are upper-case letters, lower-case letters and digits.
fn mixed(body: &[u8]) -> bool {
    let any = |class: fn(&u8) -> bool| body.iter().any(class);
    any(u8::is_ascii_uppercase) && any(u8::is_ascii_lowercase) && any(u8::is_ascii_digit)
}

/// At most `length` bytes from `start` on.
fn window(text: &[u8], start: usize, length: usize) -> &[u8] {
    let end = start.saturating_add(length).min(text.len());
    text.get(start..end).unwrap_or_default()
}

/// The start of the alphabet's run that ends at `end`.
fn run_back(text: &[u8], end: usize, alphabet: fn(u8) -> bool) -> usize {
    let before = text.get(..end).unwrap_or_default();
    before
        .iter()
        .rposition(|b| !alphabet(*b))
        .map_or(0, |i| i + 1)
}

// Shapes.

/// `-----BEGIN … PRIVATE KEY…-----` with a body, on lines of its own or in a string with escaped line breaks.
fn pem(text: &[u8], literal: Range<usize>) -> Option<Range<usize>> {
    let label = window(text, literal.end, 40);
    let length = label.windows(5).position(|w| w == b"-----")?;
    let label = &label[..length];
    let secret = label.ends_with(b"PRIVATE KEY") || label == b"PGP PRIVATE KEY BLOCK";
    let body = literal.end + length + 5;
    (secret && key_body(window(text, body, MANY))).then(|| literal.start..pem_end(text, body))
}

/// The end of the first line of the body: enough to tell two keys apart, and the same whatever follows the key.
fn pem_end(text: &[u8], body: usize) -> usize {
    let start = (body..text.len()).find(|at| run(text, *at, base64).len() >= 16);
    start.map_or(body, |at| run(text, at, base64).end)
}

/// Whether at least 56 characters of base64 follow (the shortest private key has 64), in pieces of 16 or more, before
/// the block ends. Shorter pieces are header words or the rest of an elided key.
fn key_body(text: &[u8]) -> bool {
    let end = text.windows(5).position(|w| w == b"-----");
    let text = &text[..end.unwrap_or(text.len())];
    let text = unescape(text);
    let pieces: Vec<u8> = text
        .split(|b| !base64(*b))
        .filter(|piece| piece.len() >= 16)
        .flatten()
        .copied()
        .collect();
    let elided = text.windows(3).any(|w| w == b"...");
    !elided && pieces.len() >= 56 && different(&pieces) >= 20 && plausible(&pieces)
}

/// Blanks escaped line breaks, so that their letter is not taken for base64.
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut plain = text.to_vec();
    for at in 1..plain.len() {
        if plain[at - 1] == b'\\' && matches!(plain[at], b'n' | b'r' | b't') {
            plain[at] = b' ';
        }
    }
    plain
}

fn putty(text: &[u8], literal: Range<usize>) -> Option<Range<usize>> {
    let file = window(text, literal.start, 2 * MANY);
    let lines = b"Private-Lines:";
    let at = file.windows(lines.len()).position(|w| w == lines)?;
    let body = literal.start + at + lines.len();
    key_body(window(text, body, MANY)).then(|| literal.start..pem_end(text, body))
}

fn aws_id(text: &[u8], literal: Range<usize>) -> Option<Range<usize>> {
    let range = token(text, literal.clone(), upper_alnum, &(16..17))?;
    let ends_word = !text.get(range.end).is_some_and(|b| dashed(*b));
    // All letters: a word (`ASIAPACIFIC…`), not an id.
    let digits = text[literal.end..range.end].iter().any(u8::is_ascii_digit);
    (ends_word && digits).then_some(range)
}

/// Forty bytes of base64 soon after the id or the name of the setting. A commit id has forty as well, all of them hex.
fn aws_secret(text: &[u8], literal: Range<usize>) -> Option<Range<usize>> {
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
fn slack(text: &[u8], literal: Range<usize>) -> Option<Range<usize>> {
    let range = token(text, literal.clone(), dashed, &(24..MANY))?;
    let body = &text[literal.end..range.end];
    let secret = body.rsplit(|b| *b == b'-').next().unwrap_or_default();
    (body[0].is_ascii_digit() && secret.len() >= 20 && plausible(secret)).then_some(range)
}

fn slack_webhook(text: &[u8], literal: Range<usize>) -> Option<Range<usize>> {
    let path = run(text, literal.end, base64);
    let parts: Vec<&[u8]> = text[path.clone()].split(|b| *b == b'/').collect();
    let [team, hook, secret] = parts.as_slice() else {
        return None;
    };
    let right = team.first() == Some(&b'T') && hook.first() == Some(&b'B');
    (right && team.len() >= 8 && hook.len() >= 8 && secret.len() >= 20 && plausible(secret))
        .then_some(path)
}

fn crates_io(text: &[u8], literal: Range<usize>) -> Option<Range<usize>> {
    let range = token(text, literal.clone(), alnum, &(32..33))?;
    // Three letters are a thin anchor: inside base64 they would turn up by chance.
    let foreign = |b: &u8| base64(*b) || dashed(*b) || *b == b'=';
    let before = literal.start.checked_sub(1).and_then(|at| text.get(at));
    let after = text.get(range.end);
    let quoted_assignment = before == Some(&b'=');
    let alone = (quoted_assignment || !before.is_some_and(foreign)) && !after.is_some_and(foreign);
    (alone && mixed(&text[literal.end..range.end])).then_some(range)
}

fn sendgrid(text: &[u8], literal: Range<usize>) -> Option<Range<usize>> {
    let range = token(text, literal.clone(), dotted, &(66..67))?;
    let body = &text[literal.end..range.end];
    let dots = body.iter().filter(|b| **b == b'.').count();
    (body[22] == b'.' && dots == 1 && mixed(body)).then_some(range)
}

/// `SK` and 32 hex digits: only beside the vendor's name, either side of it.
fn twilio(text: &[u8], literal: Range<usize>) -> Option<Range<usize>> {
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
fn telegram(text: &[u8], literal: Range<usize>) -> Option<Range<usize>> {
    let start = run_back(text, literal.start, |b| b.is_ascii_digit());
    let body = run(text, literal.start + 1, dashed);
    let right = (8..=10).contains(&(literal.start - start)) && body.len() == 35;
    let secret = &text[body.clone()];
    (right && starts_word(text, start) && plausible(secret) && mixed(secret))
        .then_some(start..body.end)
}

/// The older form: `sk-`, 20 characters, the marker, 20 characters. The marker is in the newer forms as well.
fn openai(text: &[u8], literal: Range<usize>) -> Option<Range<usize>> {
    let start = run_back(text, literal.start, dashed);
    let end = run(text, literal.end, dashed).end;
    let key = &text[start..end];
    (key.starts_with(b"sk-") && key.len() >= 40 && plausible(key)).then_some(start..end)
}

fn hugging_face(text: &[u8], literal: Range<usize>) -> Option<Range<usize>> {
    let range = token(text, literal.clone(), underscored, &(34..35))?;
    let body = &text[literal.end..range.end];
    let cases = |class: fn(&u8) -> bool| body.iter().any(class);
    let chance = cases(u8::is_ascii_uppercase) && cases(u8::is_ascii_lowercase);
    (chance && body.iter().all(|b| alnum(*b))).then_some(range)
}

fn vault(text: &[u8], literal: Range<usize>) -> Option<Range<usize>> {
    let range = token(text, literal.clone(), dashed, &(24..MANY))?;
    mixed(&text[literal.end..range.end]).then_some(range)
}

fn azure(text: &[u8], literal: Range<usize>) -> Option<Range<usize>> {
    /// The key of the storage emulator, the same for everyone.
    const EMULATOR: &[u8] = b"Eby8vdM02xNOcqFl";
    let body = run(text, literal.end, base64);
    let key = &text[body.clone()];
    let padded = window(text, body.end, 2) == b"==";
    (key.len() == 86 && padded && !key.starts_with(EMULATOR) && plausible(key)).then_some(body)
}

#[cfg(test)]
mod tests;
