//! The shapes of secrets, and the scanner that finds them in one pass.
//!
//! - [`vendors`]: tokens that only the name of their vendor beside them tells from other text.
//!
//! Every shape is anchored on a literal (`ghp_`, `-----BEGIN `). One automaton finds all literals; only there is the
//! shape of the rule looked at. A shape is narrow on purpose: exact alphabet, exact or minimal length, a boundary on
//! both sides, and a body that is no placeholder ([`plausible`]). Sources: the vendors' own descriptions of their
//! token formats. Shapes are looked for in text without escapes ([`Resolved`]).
//!
//! Not looked for, as too noisy: JSON web tokens, passwords in URLs, text that is merely random.

mod vendors;

use std::ops::Range;

use aho_corasick::{AhoCorasick, BuildError, MatchKind};
use base64::Engine as _;
use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, NO_PAD};

use super::escapes::Resolved;
use vendors::{VENDORS, assigned};

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
    /// The literal is followed by parts of these lengths with a separator in between.
    Parts(fn(u8) -> bool, u8, &'static [usize]),
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
    rule("private-key", "private key in base64", &["LS0tLS1CRUdJTi"], Find::With(encoded_pem)),
    rule("putty-private-key", "PuTTY private key", &["PuTTY-User-Key-File-"], Find::With(putty)),
    rule("age-secret-key", "age secret key", &["AGE-SECRET-KEY-1"], Find::Token(bech32, 58..59)),
    rule("aws-access-key-id", "AWS access key id", &["AKIA", "ASIA", "ABIA", "ACCA"], Find::With(aws_id)),
    rule("aws-secret-access-key", "AWS secret access key",
        &["AKIA", "ASIA", "ABIA", "ACCA", "SECRET_ACCESS_KEY", "secret_access_key", "secretAccessKey", "SecretAccessKey", "aws_secret_key", "AWS_SECRET_KEY"],
        Find::With(aws_secret)),
    rule("github-token", "GitHub token", &["ghp_", "gho_", "ghu_", "ghs_", "ghr_"], Find::Token(alnum, 36..256)),
    rule("github-token", "GitHub token", &["github_pat_"], Find::Token(underscored, 82..83)),
    rule("gitlab-token", "GitLab token", &["glpat-", "gldt-", "glrt-", "glptt-", "glcbt-", "glffct-", "glft-", "glimt-", "glagent-", "gloas-", "glsoat-", "GR1348941"], Find::Token(dotted, 20..MANY)),
    rule("gitlab-session", "GitLab session cookie", &["_gitlab_session="], Find::Token(alnum, 32..33)),
    rule("slack-token", "Slack token", &["xoxb-", "xoxp-", "xoxa-", "xoxr-", "xoxs-", "xoxe-", "xoxe.xoxb-", "xoxe.xoxp-", "xapp-"], Find::With(slack)),
    rule("slack-webhook", "Slack webhook", &["hooks.slack.com/"], Find::With(slack_webhook)),
    rule("stripe-key", "Stripe live key", &["sk_live_", "rk_live_"], Find::Token(alnum, 24..MANY)),
    rule("google-api-key", "Google API key", &["AIza"], Find::Token(dashed, 35..36)),
    rule("npm-token", "npm token", &["npm_"], Find::Token(alnum, 36..37)),
    rule("pypi-token", "PyPI token", &["pypi-AgEIcHlwaS5vcmc", "pypi-AgENdGVzdC5weXBpLm9yZw"], Find::Token(dashed, 50..MANY)),
    rule("crates-io-token", "crates.io token", &["cio"], Find::With(crates_io)),
    rule("docker-token", "Docker Hub token", &["dckr_pat_", "dckr_oat_"], Find::Token(dashed, 27..65)),
    rule("sendgrid-key", "SendGrid key", &["SG."], Find::With(sendgrid)),
    rule("twilio-key", "Twilio API key", &["twilio", "Twilio", "TWILIO"], Find::With(twilio)),
    rule("telegram-bot-token", "Telegram bot token", &[":A"], Find::With(telegram)),
    rule("anthropic-key", "Anthropic key", &["sk-ant-"], Find::Token(dashed, 40..MANY)),
    rule("openai-key", "OpenAI key", &["sk-proj-", "sk-svcacct-", "sk-admin-"], Find::Token(dashed, 40..MANY)),
    rule("openai-key", "OpenAI key", &["T3BlbkFJ"], Find::With(openai)),
    rule("huggingface-token", "Hugging Face token", &["hf_"], Find::With(hugging_face)),
    rule("huggingface-token", "Hugging Face token", &["api_org_"], Find::Token(alnum, 34..35)),
    rule("digitalocean-token", "DigitalOcean token", &["dop_v1_", "doo_v1_", "dor_v1_"], Find::Token(hex, 64..65)),
    rule("vault-token", "Vault token", &["hvs.", "hvb."], Find::With(vault)),
    rule("azure-storage-key", "Azure storage account key", &["AccountKey", "accountKey", "account_key", "ACCOUNT_KEY"], Find::With(azure)),
    rule("databricks-token", "Databricks token", &["dapi"], Find::Token(hex, 32..33)),
    rule("1password-token", "1Password service account token", &["ops_eyJ"], Find::Token(padded, 200..MANY)),
    rule("1password-secret-key", "1Password secret key", &["A3-"], Find::Parts(upper_alnum, b'-', &[6, 11, 5, 5, 5])),
    rule("1password-secret-key", "1Password secret key", &["A3-"], Find::Parts(upper_alnum, b'-', &[6, 6, 5, 5, 5, 5])),
    rule("adobe-secret", "Adobe client secret", &["p8e-"], Find::Token(alnum, 32..33)),
    rule("airtable-token", "Airtable token", &["pat"], Find::Parts(alnum, b'.', &[14, 64])),
    rule("alibaba-key-id", "Alibaba access key id", &["LTAI"], Find::Token(alnum, 20..21)),
    rule("artifactory-key", "Artifactory API key", &["AKCp"], Find::Token(alnum, 69..70)),
    rule("artifactory-token", "Artifactory reference token", &["cmVmdGtu"], Find::Token(alnum, 56..57)),
    rule("bedrock-key", "Amazon Bedrock API key", &["ABSKQmVkcm9ja0FQSUtleS"], Find::Token(padded, 60..MANY)),
    rule("azure-client-secret", "Azure client secret", &["Q~"], Find::With(azure_client)),
    rule("bedrock-key", "Amazon Bedrock API key", &["bedrock-api-key-"], Find::Token(padded, 28..MANY)),
    rule("clickhouse-key", "ClickHouse Cloud key", &["4b1d"], Find::Token(alnum, 38..39)),
    rule("clojars-token", "Clojars token", &["CLOJARS_"], Find::Token(alnum, 60..61)),
    rule("cloudflare-ca-key", "Cloudflare origin CA key", &["v1.0-"], Find::Parts(hex, b'-', &[24, 146])),
    rule("defined-networking-key", "Defined Networking key", &["dnkey-"], Find::Parts(alnum, b'-', &[26, 52])),
    rule("doppler-token", "Doppler token", &["dp.pt.", "dp.st.", "dp.sa."], Find::Token(dotted, 40..64)),
    rule("duffel-token", "Duffel token", &["duffel_live_", "duffel_test_"], Find::Token(dashed_padded, 43..44)),
    rule("dynatrace-token", "Dynatrace token", &["dt0c01.", "dt0s01.", "dt0s02."], Find::Parts(alnum, b'.', &[24, 64])),
    rule("easypost-key", "EasyPost key", &["EZAK", "EZTK"], Find::Token(alnum, 54..55)),
    rule("facebook-token", "Facebook page token", &["EAACEdEose0cBA", "EAAM", "EAAC"], Find::Token(alnum, 96..MANY)),
    rule("flutterwave-key", "Flutterwave key", &["FLWSECK-", "FLWSECK_TEST-"], Find::Token(hex, 32..33)),
    rule("flutterwave-key", "Flutterwave key", &["FLWSECK_TEST-"], Find::Token(alnum, 12..13)),
    rule("fly-token", "Fly.io token", &["fo1_"], Find::Token(dashed, 43..44)),
    rule("fly-token", "Fly.io token", &["fm1a_", "fm1r_", "fm2_"], Find::Token(padded, 100..MANY)),
    rule("frameio-token", "Frame.io token", &["fio-u-"], Find::Token(dashed, 64..65)),
    rule("grafana-token", "Grafana token", &["glsa_"], Find::Parts(alnum, b'_', &[32, 8])),
    rule("grafana-token", "Grafana token", &["glc_"], Find::Token(padded, 32..MANY)),
    rule("grafana-key", "Grafana API key", &["eyJrIjoi"], Find::Token(padded, 70..MANY)),
    rule("harness-token", "Harness token", &["pat.", "sat."], Find::Parts(dashed, b'.', &[22, 24, 20])),
    rule("heroku-key", "Heroku API key", &["HRKU-AA"], Find::Token(dashed, 58..59)),
    rule("infracost-key", "Infracost API key", &["ico-"], Find::With(infracost)),
    rule("42-secret", "42 client secret", &["s-s4t2ud-", "s-s4t2af-"], Find::Token(hex, 64..65)),
    rule("linear-key", "Linear API key", &["lin_api_"], Find::Token(alnum, 40..41)),
    rule("maxmind-key", "MaxMind license key", &["_mmk"], Find::With(maxmind)),
    rule("mailgun-key", "Mailgun key", &["key-"], Find::Token(hex, 32..33)),
    rule("new-relic-key", "New Relic key", &["NRAK-"], Find::Token(alnum, 27..28)),
    rule("new-relic-key", "New Relic key", &["NRII-"], Find::Token(dashed, 32..33)),
    rule("notion-token", "Notion token", &["ntn_"], Find::Token(alnum, 46..47)),
    rule("octopus-key", "Octopus Deploy API key", &["API-"], Find::With(octopus)),
    rule("openshift-token", "OpenShift token", &["sha256~"], Find::Token(dashed, 43..44)),
    rule("perplexity-key", "Perplexity API key", &["pplx-"], Find::Token(alnum, 48..49)),
    rule("plaid-token", "Plaid access token", &["access-production-", "access-development-", "access-sandbox-"], Find::Parts(hex, b'-', &[8, 4, 4, 4, 12])),
    rule("planetscale-token", "PlanetScale token", &["pscale_tkn_", "pscale_oauth_", "pscale_pw_"], Find::Token(dotted_padded, 32..65)),
    rule("postman-key", "Postman API key", &["PMAK-"], Find::Parts(any_hex, b'-', &[24, 34])),
    rule("prefect-key", "Prefect API key", &["pnu_"], Find::Token(alnum, 36..37)),
    rule("pulumi-token", "Pulumi token", &["pul-"], Find::Token(hex, 40..41)),
    rule("readme-key", "ReadMe API key", &["rdme_"], Find::Token(alnum, 70..71)),
    rule("rubygems-key", "RubyGems API key", &["rubygems_"], Find::Token(hex, 48..49)),
    rule("scalingo-token", "Scalingo token", &["tk-us-"], Find::Token(dashed, 48..49)),
    rule("sendinblue-key", "Sendinblue API key", &["xkeysib-"], Find::Parts(alnum, b'-', &[64, 16])),
    rule("sentry-token", "Sentry token", &["sntryu_"], Find::Token(hex, 64..65)),
    rule("sentry-token", "Sentry token", &["sntrys_eyJ"], Find::With(sentry)),
    rule("settlemint-token", "SettleMint token", &["sm_pat_", "sm_aat_", "sm_sat_"], Find::Token(alnum, 16..17)),
    rule("shippo-token", "Shippo token", &["shippo_live_", "shippo_test_"], Find::Token(any_hex, 40..41)),
    rule("shopify-token", "Shopify token", &["shpat_", "shpca_", "shppa_", "shpss_"], Find::Token(any_hex, 32..33)),
    rule("sourcegraph-token", "Sourcegraph token", &["sgp_", "sgp_local_"], Find::Token(any_hex, 40..41)),
    rule("sourcegraph-token", "Sourcegraph token", &["sgp_"], Find::Parts(any_hex, b'_', &[16, 40])),
    rule("square-token", "Square token", &["sq0atp-"], Find::Token(dashed, 22..61)),
    rule("square-secret", "Square secret", &["sq0csp-"], Find::Token(dashed, 43..44)),
    rule("terraform-token", "Terraform Cloud token", &[".atlasv1."], Find::With(terraform)),
    rule("typeform-token", "Typeform token", &["tfp_"], Find::Token(dotted_padded, 44..80)),
    rule("yandex-key", "Yandex Cloud API key", &["AQVN"], Find::Token(dashed, 35..39)),
];

/// All rules, ready to be looked for.
#[derive(Debug)]
pub(super) struct Scanner {
    automaton: AhoCorasick,
    /// For each literal of the automaton, the rules anchored on it.
    rules: Vec<Vec<&'static Rule>>,
    /// The names of vendors, in any case.
    vendors: AhoCorasick,
    /// For each of these names, the vendor's place in [`VENDORS`].
    places: Vec<usize>,
}

/// Tokens that only the name beside them tells from other text.
static VENDOR: Rule = rule(
    "vendor-token",
    "token beside the name of its vendor",
    &[],
    Find::With(|_, _| None),
);

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
        let names = VENDORS.iter().enumerate();
        let names = names.flat_map(|(at, (names, _))| names.iter().map(move |name| (at, name)));
        let (places, names): (Vec<usize>, Vec<&str>) = names.unzip();
        let vendors = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .ascii_case_insensitive(true)
            .build(names)?;
        Ok(Self {
            automaton,
            rules,
            vendors,
            places,
        })
    }

    /// All secrets of `text`, in order, each once.
    pub(crate) fn scan(&self, raw: &[u8]) -> Vec<Hit> {
        let resolved = Resolved::new(raw);
        let text = resolved.text.as_ref();
        let mut hits: Vec<Hit> = Vec::new();
        let mut add = |rule: &'static Rule, range: Range<usize>| {
            let known = |hit: &Hit| hit.range.start < range.end && range.start < hit.range.end;
            if !hits.iter().any(known) {
                hits.push(Hit { rule, range });
            }
        };
        for found in self.automaton.find_iter(text) {
            let rules = self.rules.get(found.pattern().as_usize());
            for rule in rules.into_iter().flatten() {
                if let Some(range) = rule.find(text, found.range()) {
                    add(rule, range);
                }
            }
        }
        for found in self.vendors.find_iter(text) {
            let place = self.places.get(found.pattern().as_usize());
            let vendor = place.and_then(|place| VENDORS.get(*place));
            let token = vendor.and_then(|(_, shapes)| assigned(text, &found.range(), shapes));
            if let Some(range) = token {
                add(&VENDOR, range);
            }
        }
        for hit in &mut hits {
            hit.range = resolved.in_file(&hit.range);
        }
        hits.sort_by_key(|hit| hit.range.start);
        hits
    }
}

impl Rule {
    fn find(&self, text: &[u8], literal: Range<usize>) -> Option<Range<usize>> {
        match &self.find {
            Find::Token(alphabet, length) => token(text, literal, *alphabet, length),
            Find::Parts(alphabet, separator, lengths) => {
                parts(text, literal, *alphabet, *separator, lengths)
            }
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

fn parts(
    text: &[u8],
    literal: Range<usize>,
    alphabet: fn(u8) -> bool,
    separator: u8,
    lengths: &[usize],
) -> Option<Range<usize>> {
    if !starts_word(text, literal.start) {
        return None;
    }
    let mut end = literal.end;
    for (at, length) in lengths.iter().enumerate() {
        if at > 0 {
            end += usize::from(text.get(end) == Some(&separator));
        }
        let part = run(text, end, |b| alphabet(b) && b != separator);
        if part.len() != *length {
            return None;
        }
        end = part.end;
    }
    plausible(&text[literal.end..end]).then_some(literal.start..end)
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

fn dashed_padded(byte: u8) -> bool {
    dashed(byte) || byte == b'='
}

fn dotted_padded(byte: u8) -> bool {
    dotted(byte) || byte == b'='
}

fn base64(byte: u8) -> bool {
    alnum(byte) || byte == b'+' || byte == b'/'
}

fn hex(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

fn any_hex(byte: u8) -> bool {
    byte.is_ascii_hexdigit()
}

fn padded(byte: u8) -> bool {
    base64(byte) || byte == b'='
}

fn upper_alnum(byte: u8) -> bool {
    byte.is_ascii_uppercase() || byte.is_ascii_digit()
}

fn bech32(byte: u8) -> bool {
    upper_alnum(byte) && !matches!(byte, b'1' | b'B' | b'I' | b'O')
}

// Boundaries and bodies.

/// The longest run of the alphabet from `start` on.
fn run(text: &[u8], start: usize, alphabet: impl Fn(u8) -> bool) -> Range<usize> {
    let rest = text.get(start..).unwrap_or_default();
    let length = rest.iter().position(|b| !alphabet(*b));
    start..start + length.unwrap_or(rest.len())
}

/// Whether no word reaches into `at` from the left. The letter of an option ends there: `curl -uTOKEN:`.
fn starts_word(text: &[u8], at: usize) -> bool {
    match text.get(..at).unwrap_or_default() {
        [b'-', letter] | [.., b' ' | b'\t' | b'\n' | b'\'' | b'"' | b'`', b'-', letter] => {
            letter.is_ascii_alphabetic()
        }
        [.., last] => !dashed(*last),
        [] => true,
    }
}

/// Whether a body looks like chance, not like a placeholder: enough different bytes, no long repetition, and in a
/// short one none of the words that documentation uses. In a long one such a word turns up by chance.
fn plausible(body: &[u8]) -> bool {
    const SHORT: usize = 64;
    let is_short = body.len() <= SHORT;
    let run = if is_short { 6 } else { 12 };
    let repeated = body.windows(run).any(|w| w.iter().all(|b| *b == w[0]));
    !repeated && different(body) * 4 >= body.len().min(32) && !(is_short && names_placeholder(body))
}

/// Whether one of the words is there as people write it, not in letters of mixed case.
fn names_placeholder(body: &[u8]) -> bool {
    const WORDS: [&str; 6] = [
        "example",
        "xxxx",
        "placeholder",
        "redacted",
        "changeme",
        "your",
    ];
    WORDS.iter().any(|word| {
        body.windows(word.len()).any(|part| {
            let cased = part[1..].iter().all(u8::is_ascii_lowercase)
                || part.iter().all(u8::is_ascii_uppercase);
            cased && part.eq_ignore_ascii_case(word.as_bytes())
        })
    })
}

fn different(body: &[u8]) -> usize {
    let mut seen = [false; 256];
    for byte in body {
        seen[usize::from(*byte)] = true;
    }
    seen.iter().filter(|seen| **seen).count()
}

/// Whether there are upper-case letters, lower-case letters and digits. One body in some hundred has no digit by
/// chance: it has more capitals than a name would have.
fn mixed(body: &[u8]) -> bool {
    let count = |class: fn(&u8) -> bool| body.iter().filter(|b| class(b)).count();
    let letters = count(u8::is_ascii_uppercase).min(count(u8::is_ascii_lowercase));
    letters >= 6 || letters >= 1 && body.iter().any(u8::is_ascii_digit)
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

/// The base64 of a private key's file, as a Kubernetes secret or a kubeconfig holds it, on one line or wrapped.
fn encoded_pem(text: &[u8], literal: Range<usize>) -> Option<Range<usize>> {
    const ENGINE: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, NO_PAD);
    let near = window(text, literal.start, MANY);
    let of_it = |byte: &&u8| base64(**byte) || byte.is_ascii_whitespace();
    let digits = near.iter().take_while(of_it);
    let mut digits: Vec<u8> = digits.filter(|b| base64(**b)).copied().collect();
    digits.truncate(digits.len() / 4 * 4);
    let file = ENGINE.decode(digits).ok()?;
    pem(&file, 0.."-----BEGIN ".len())?;
    Some(run(text, literal.start, base64))
}

/// The end of the first line of the body: enough to tell two keys apart, and the same whatever follows the key.
fn pem_end(text: &[u8], body: usize) -> usize {
    let start = (body..text.len()).find(|at| run(text, *at, base64).len() >= 16);
    start.map_or(body, |at| run(text, at, base64).end)
}

/// Whether the base64 of a private key follows, in pieces of 16 or more, before the block ends. Shorter pieces are
/// header words or the rest of an elided key. What the letters spell does not matter: a key of 4096 bits holds any
/// word of four letters once in some 150 times, and runs of `A` where numbers are small.
fn key_body(text: &[u8]) -> bool {
    /// The shortest key there is: EdDSA without its public half.
    const SHORTEST: usize = 44;
    let end = text.windows(5).position(|w| w == b"-----");
    let text = &text[..end.unwrap_or(text.len())];
    let is_piece = |piece: &&[u8]| piece.len() >= 16;
    let pieces: Vec<u8> = text
        .split(|b| !base64(*b))
        .filter(is_piece)
        .flatten()
        .copied()
        .collect();
    let elided = text.windows(3).any(|w| w == b"...");
    !elided && pieces.len() >= SHORTEST && different(&pieces) >= 16
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
    let body = &text[literal.end..range.end];
    // `ASIAPACIFIC…` is a word, not an id: it has no digits and many vowels.
    let vowels = body.iter().filter(|b| b"AEIOU".contains(b)).count();
    let is_word =
        text[literal].starts_with(b"AS") && vowels >= 6 && body.iter().all(u8::is_ascii_uppercase);
    (ends_word && !is_word).then_some(range)
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
    let range = token(text, literal.clone(), dashed, &(20..MANY))?;
    let body = &text[literal.end..range.end];
    let secret = body.rsplit(|b| *b == b'-').next().unwrap_or_default();
    let chance = secret.len() >= 10 && secret.iter().any(u8::is_ascii_digit);
    (body[0].is_ascii_digit() && chance && plausible(secret)).then_some(range)
}

/// `services/T…/B…/secret`; those of workflows and triggers have one part more.
fn slack_webhook(text: &[u8], literal: Range<usize>) -> Option<Range<usize>> {
    let path = run(text, literal.end, base64);
    let mut parts = text[path.clone()].split(|b| *b == b'/');
    let kind = parts.next()?;
    let team = parts.next()?;
    let secret = parts.next_back()?;
    let known = [&b"services"[..], b"workflows", b"triggers"].contains(&kind);
    let right = matches!(team.first(), Some(b'T' | b'E')) && parts.count() > 0;
    (known && right && team.len() >= 8 && secret.len() >= 20 && plausible(secret)).then_some(path)
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
    let right = (5..=16).contains(&(literal.start - start)) && body.len() == 35;
    // The vendor's URLs hold it as `/bot123456789:AA…/method`.
    let starts = starts_word(text, start) || text[..start].ends_with(b"/bot");
    let secret = &text[body.clone()];
    (right && starts && plausible(secret) && mixed(secret)).then_some(start..body.end)
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
    /// Longer than the name of any method.
    const LONG: usize = 90;
    let range = token(text, literal.clone(), dashed, &(24..MANY))?;
    let body = &text[literal.end..range.end];
    (body.len() >= LONG || mixed(body)).then_some(range)
}

/// `API-` and 26 capitals and digits; four letters that are a word as well.
fn octopus(text: &[u8], literal: Range<usize>) -> Option<Range<usize>> {
    let range = token(text, literal.clone(), upper_alnum, &(26..27))?;
    let digits = text[literal.end..range.end]
        .iter()
        .filter(|b| b.is_ascii_digit());
    (digits.count() >= 2).then_some(range)
}

/// `ico-` is also the end of a file name that has a hash behind it, which has no capitals.
fn infracost(text: &[u8], literal: Range<usize>) -> Option<Range<usize>> {
    let range = token(text, literal.clone(), alnum, &(32..33))?;
    mixed(&text[literal.end..range.end]).then_some(range)
}

/// `sntrys_`, the settings in base64, `_`, 43 characters.
fn sentry(text: &[u8], literal: Range<usize>) -> Option<Range<usize>> {
    let settings = run(text, literal.end, padded);
    let secret = run(text, settings.end + 1, padded);
    let right = settings.len() >= 60 && text.get(settings.end) == Some(&b'_') && secret.len() == 43;
    (right && starts_word(text, literal.start) && plausible(&text[secret.clone()]))
        .then_some(literal.start..secret.end)
}

/// Fourteen characters, `.atlasv1.`, 60 or more.
fn terraform(text: &[u8], literal: Range<usize>) -> Option<Range<usize>> {
    let start = run_back(text, literal.start, alnum);
    let body = run(text, literal.end, dashed_padded);
    let right = literal.start - start == 14 && body.len() >= 60;
    (right && starts_word(text, start) && plausible(&text[body.clone()])).then_some(start..body.end)
}

/// Six characters, `_`, 29, `_mmk`.
fn maxmind(text: &[u8], literal: Range<usize>) -> Option<Range<usize>> {
    let start = run_back(text, literal.start, underscored);
    let body = &text[start..literal.start];
    let right = body.len() == 36 && body[6] == b'_';
    let ends = !text.get(literal.end).is_some_and(|b| dashed(*b));
    (right && ends && plausible(body)).then_some(start..literal.end)
}

/// Three characters, a digit, `Q~`, 31 to 34 characters.
fn azure_client(text: &[u8], literal: Range<usize>) -> Option<Range<usize>> {
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

fn azure(text: &[u8], literal: Range<usize>) -> Option<Range<usize>> {
    /// The key of the storage emulator, the same for everyone.
    const EMULATOR: &[u8] = b"Eby8vdM02xNOcqFl";
    let near = window(text, literal.end, 8);
    let apart = near.iter().position(|b| base64(*b))?;
    let body = run(text, literal.end + apart, base64);
    let key = &text[body.clone()];
    let padded = window(text, body.end, 2) == b"==";
    (key.len() == 86 && padded && !key.starts_with(EMULATOR) && plausible(key)).then_some(body)
}

#[cfg(test)]
mod tests;
