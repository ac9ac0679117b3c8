//! One row per rule: texts that are found, and near misses that are not.
//!
//! Texts are assembled from pieces, `|` marking the seams, so that this file holds no secret itself.

use base64::Engine as _;

use super::super::alphabets::base64;
use super::super::named::VENDORS;
use super::super::scanner::Scanner;
use super::*;

struct Row {
    rule: &'static str,
    found: &'static [&'static str],
    missed: &'static [&'static str],
}

/// 64 characters of base64, twice.
const BODY: &str = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj";

#[rustfmt::skip]
const ROWS: &[Row] = &[
    Row { rule: "private-key",
        found: &[
            "-----BEGIN| RSA PRIVATE KEY-----\nBODY\nBODY\n-----END RSA PRIVATE KEY-----",
            "-----BEGIN| PRIVATE KEY-----\nBODY\n-----END PRIVATE KEY-----",
            "-----BEGIN| OPENSSH PRIVATE KEY-----\r\nBODY\r\nBODY\r\n",
            "-----BEGIN| RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: DES-EDE3-CBC,1\n\nBODY\n",
            "-----BEGIN| PGP PRIVATE KEY BLOCK-----\nVersion: GnuPG v2\n\nBODY\nBODY\n",
            "\"private_key\": \"-----BEGIN| PRIVATE KEY-----\\nBODY\\nBODY\\n-----END PRIVATE KEY-----\\n\"",
            "    -----BEGIN| EC PRIVATE KEY-----\n    BODY\n",
        ],
        missed: &[
            "-----BEGIN| PUBLIC KEY-----\nBODY\nBODY\n",
            "-----BEGIN| CERTIFICATE-----\nBODY\nBODY\n",
            "-----BEGIN| RSA PRIVATE KEY-----",
            "-----BEGIN| RSA PRIVATE KEY-----\n...\n-----END RSA PRIVATE KEY-----\nBODY",
            "-----BEGIN| RSA PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC...\nBODY\n",
            "-----BEGIN| PRIVATE KEY-----\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n",
            "if line.starts_with(\"-----BEGIN| PRIVATE KEY-----\") { return Some(parse_the_key_that_follows(line)); }",
        ] },
    Row { rule: "maxmind-key",
        found: &["key = Ab3dE6_q7RkZ2mNf84LsTw0YbVx3JcDh6GpA|_mmk"],
        missed: &["Ab3dE6-q7RkZ2mNf84LsTw0YbVx3JcDh6GpA|_mmk", "xxAb3dE6_q7RkZ2mNf84LsTw0YbVx3JcDh6GpA|_mmk", "Ab3dE6_q7RkZ2mNf84LsTw0YbVx3JcDh6GpA|_mmks"] },
    Row { rule: "azure-client-secret",
        found: &["secret: 'aB.8|Q~q7RkZ2mNf84LsTw0YbVx3JcDh6GpAe9U'"],
        missed: &["aB.c|Q~q7RkZ2mNf84LsTw0YbVx3JcDh6GpAe9U", "xaB.8|Q~q7RkZ2mNf84LsTw0YbVx3JcDh6GpAe9U", "aB.8|Q~q7RkZ2mNf84LsTw0YbVx3JcDh"] },
    Row { rule: "putty-private-key",
        found: &["PuTTY-User-Key|-File-2: ssh-rsa\nEncryption: none\nPublic-Lines: 1\nBODY\nPrivate-Lines: 2\nBODY\nBODY\nPrivate-MAC: 0\n"],
        missed: &["PuTTY-User-Key|-File-2: ssh-rsa\nPublic-Lines: 1\nBODY\n"] },
    Row { rule: "age-secret-key",
        found: &["AGE-SECRET|-KEY-1QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7LQPZRY9X8GF2TVDW0S3JN54KHCE"],
        missed: &["AGE-SECRET|-KEY-1QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L", "AGE-SECRET|-KEY-1XXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXX"] },
    Row { rule: "aws-access-key-id",
        found: &["AKI|AQ3EGRVDLK7M2ZT5H", "id=ASI|AQ3EGRVDLK7M2ZT5H;", "\\nAKI|AQ3EGRVDLK7M2ZT5H"],
        missed: &["AKI|AIOSFODNN7EXAMPLE", "AKI|AIOSFODNN7YOURKEY", "AKI|AXXXXXXXXXXXXXXX2", "ASI|APACIFICSOUTHEAST", "AKI|AQ3EGRVDLK7M2ZT5HQ", "SAKI|AQ3EGRVDLK7M2ZT5H", "AKI|Aq3egrvdlk7m2zt5h"] },
    Row { rule: "aws-secret-access-key",
        found: &["AWS_SECRET_ACCESS_KEY=kR7/vLq2+ZbXw9TnYc4HsJ6p|Gd1MfEa8UiOoBt3N", "aws_secret_access_key: 'kR7/vLq2+ZbXw9TnYc4HsJ6p|Gd1MfEa8UiOoBt3N'"],
        missed: &["AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG/bPxRfiCY|EXAMPLEKEY", "AWS_SECRET_ACCESS_KEY=${{ secrets.AWS }}", "secret_access_key: 0123456789abcdef0123|456789abcdef01234567"] },
    Row { rule: "github-token",
        found: &["ghp|_q7RkZ2mNf84LsTw0YbVx3JcDh6GpAe9UiKoQ", "ghs|_q7RkZ2mNf84LsTw0YbVx3JcDh6GpAe9UiKoQ",
            "github|_pat_11ABCDEFG0q7RkZ2mNf84L_sTw0YbVx3JcDh6GpAe9UiKoQq7RkZ2mNf84LsTw0YbVx3JcDh6GpAe9UiKo"],
        missed: &["ghp|_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", "ghp|_q7RkZ2mNf84LsTw0", "aghp|_q7RkZ2mNf84LsTw0YbVx3JcDh6GpAe9UiKoQ", "github|_pat_11ABCDEFG0q7Rk"] },
    Row { rule: "gitlab-token", found: &["glpat|-q7RkZ2mNf84LsTw0YbVx", "\"glrt|-q7RkZ2mNf84LsTw0YbVx\""], missed: &["glpat|-xxxxxxxxxxxxxxxxxxxx", "glpat|-short", "glpat|-your-token-goes-here1"] },
    Row { rule: "slack-token",
        found: &["xox|b-2345678901-2345678901234-q7RkZ2mNf84LsTw0YbVx3JcD", "xap|p-1-A0B1C2D3E4F-2345678901-q7RkZ2mNf84LsTw0YbVx3JcDh6Gp"],
        missed: &["xox|b-your-slack-bot-token-goes-right-here", "xox|b-123456789012-XXXXXXXXXXXXXXXXXXXXXXXX", "xox|b-2345678901", "xox|a-nyc", "images/xox|o-indieweb-1.jpg"] },
    Row { rule: "slack-token", found: &["xox|a-2-511111111-31111111111-3111111111111-e039d02840a0b9379c", "xox|r-kewdwckenbl1"], missed: &[] },
    Row { rule: "slack-webhook",
        found: &["https://hooks.slack|.com/services/T024BE7LD/B0F4K2N8Q/q7RkZ2mNf84LsTw0YbVx3JcD"],
        missed: &["https://hooks.slack|.com/services/T00000000/B00000000/XXXXXXXXXXXXXXXXXXXXXXXX", "https://hooks.slack|.com/services/T024BE7LD/B0F4K2N8Q", "hooks.slack|.com/services/", "hooks.slack|.com/api/T024BE7LD/B0F4K2N8Q/q7RkZ2mNf84LsTw0YbVx3JcD"] },
    Row { rule: "stripe-key", found: &["sk|_live_q7RkZ2mNf84LsTw0YbVx3JcD", "rk|_live_q7RkZ2mNf84LsTw0YbVx3JcD"], missed: &["sk|_live_xxxxxxxxxxxxxxxxxxxxxxxx", "sk|_live_short"] },
    Row { rule: "google-api-key", found: &["key=AIz|aSyq7RkZ2mNf84LsTw0YbVx3JcDh6GpAe9Ui"], missed: &["AIz|aSyq7RkZ2mNf84LsTw0YbVx3JcDh6GpAe9Uxxx", "AIz|aSyXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXX", "BAIz|aSyq7RkZ2mNf84LsTw0YbVx3JcDh6GpAe9Ui"] },
    Row { rule: "npm-token", found: &["//registry/:_authToken=npm|_q7RkZ2mNf84LsTw0YbVx3JcDh6GpAe9UiKoQ"], missed: &["npm|_config_registry_of_the_whole_company_x", "npm|_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"] },
    Row { rule: "pypi-token", found: &["pypi-|AgEIcHlwaS5vcmcCJDq7RkZ2mNf84LsTw0YbVx3JcDh6GpAe9UiKoQq7RkZ2mNf84LsT"], missed: &["pypi-|AgEIcHlwaS5vcmc", "pypi-|AgEIcHlwaS5vcmcxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"] },
    Row { rule: "crates-io-token", found: &["token = \"ci|oq7RkZ2mNf84LsTw0YbVx3JcDh6GpAe9U\"", "TOKEN=ci|oq7RkZ2mNf84LsTw0YbVx3JcDh6GpAe9U"], missed: &["ci|oq7RkZ2mNf84LsTw0YbVx3JcDh6GpAe9U+abc", "/ci|oq7RkZ2mNf84LsTw0YbVx3JcDh6GpAe9U", "ci|oabcdefghijklmnopqrstuvwxyzabcdef"] },
    Row { rule: "docker-token", found: &["dckr|_pat_q7RkZ2mNf84LsTw0YbVx3JcDh6G"], missed: &["dckr|_pat_xxxxxxxxxxxxxxxxxxxxxxxxxxx", "dckr|_pat_short"] },
    Row { rule: "sendgrid-key", found: &["SG|.q7RkZ2mNf84LsTw0YbVx3J.q7RkZ2mNf84LsTw0YbVx3JcDh6GpAe9UiKoQq7RkZ2m"], missed: &["SG|.q7RkZ2mNf84LsTw0YbVx3J.short", "MSG|.q7RkZ2mNf84LsTw0YbVx3J.q7RkZ2mNf84LsTw0YbVx3JcDh6GpAe9UiKoQq7RkZ2m"] },
    Row { rule: "twilio-key", found: &["twilio_key = SK|0a1b2c3d4e5f60718293a4b5c6d7e8f9", "SK|0a1b2c3d4e5f60718293a4b5c6d7e8f9 # Twilio"], missed: &["key = SK|0a1b2c3d4e5f60718293a4b5c6d7e8f9", "twilio SK|0a1b2c3d", "twilio SK|00000000000000000000000000000000"] },
    Row { rule: "telegram-bot-token", found: &["TOKEN=7123456789:|AAq7RkZ2mNf84LsTw0YbVx3JcDh6GpAe9Ui"], missed: &["7123456789:|AAshort", "12:|AAq7RkZ2mNf84LsTw0YbVx3JcDh6GpAe9Ui", "7123456789:|AAaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"] },
    Row { rule: "anthropic-key", found: &["sk|-ant-api03-q7RkZ2mNf84LsTw0YbVx3JcDh6GpAe9UiKoQq7RkZ2mNf84LsTw0"], missed: &["sk|-ant-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", "sk|-ant-api03-short", "sk|-ant-api03-your-key-q7RkZ2mNf84LsTw0YbVx3JcDh6GpAe9UiKoQ"] },
    Row { rule: "openai-key", found: &["sk|-proj-q7RkZ2mNf84LsTw0YbVx3JcDh6GpAe9UiKoQq7RkZ2mNf84LsTw0", "sk|-q7RkZ2mNf84LsTw0YbVxT3Blbk|FJ3JcDh6GpAe9UiKoQq7Rk"], missed: &["sk|-proj-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", "T3Blbk|FJ", "task|-q7RkZ2mNf84LsTw0YbVxT3Blbk|FJ3JcDh6GpAe9UiKoQq7Rk"] },
    Row { rule: "huggingface-token", found: &["hf|_qZRkTmNfLsTwYbVxJcDhGpAeUiKoQqRkZm"], missed: &["hf|_qzrktmnflstwybvxjcdhgpaeuikoqqrkzm", "hf|_load_the_whole_data_set_at_once_xx", "hf|_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"] },
    Row { rule: "digitalocean-token", found: &["dop|_v1_0a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8f9"], missed: &["dop|_v1_0a1b2c3d", "dop|_v1_0000000000000000000000000000000000000000000000000000000000000000"] },
    Row { rule: "vault-token", found: &["hvs|.CAESIq7RkZ2mNf84LsTw0YbVx3JcDh6GpAe9UiKoQ"], missed: &["hvs|.handleVeryLongMethodNamesWell", "hvs|.short", "hvs|.xxxxxxxxxxxxxxxxxxxxxxxxxxxx1A"] },
    Row { rule: "azure-storage-key",
        found: &["DefaultEndpointsProtocol=https;AccountName=a;Account|Key=q7RkZ2mNf84LsTw0YbVx3JcDh6GpAe9UiKoQq7RkZ2mNf84LsTw0YbVx3JcDh6GpAe9UiKoQ+/q7RkZ2mNf84L==;"],
        missed: &["Account|Key=Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==", "Account|Key=<key>", "Account|Key=short=="] },
    Row { rule: "vault-token", found: &["token: s|.Zq9Ecf4M5g9o34Q6RkzGsj0z"], missed: &["s|.AcceptanceTimeoutSeconds", "s|.GetSomeOtherVersion2Of3All()", "s|.xxxxxxxxxxxxxxxxxxxxxxxx"] },
    Row { rule: "facebook-token", found: &["1308742762612587||rhoK1cbv0DOU_RTX_87O4MkX7AI"], missed: &["130874276||rhoK1cbv0DOU_RTX_87O4MkX7AI", "1308742762612587||and_then_a_word_that_is_long"] },
    Row { rule: "authress-key", found: &["sc_c8f7cqh6dk.8weu|.acc_v8qkwag04f.fmptg85fed0tggyem2dsdzgltfey8jm9kivi_m4s"], missed: &["c8f7cqh6dk.8weu|.acc_v8qkwag04f.fmptg85fed0tggyem2dsdzgltfey8jm9kivi_m4s", "sc_c8f7cqh6dk.8weu|.acc_v8qkwag04f.short"] },
    Row { rule: "sidekiq-credentials", found: &["https://c4feb4b3|:d3adb33f@gems.contribsys.com/", "BUNDLE_GEMS__CONTRIBSYS__COM: c4feb4be|:deadbeef"], missed: &["https://gems.contribsys.com", "https://00000000|:00000000@gems.contribsys.com/", "BUNDLE_GEMS__CONTRIBSYS__COM: $TOKEN"] },
    Row { rule: "square-token", found: &["EAA|AyYvZObW0PWs0YvI0CMWc3v"], missed: &["EAA|AAAAAAAABAAAAAgAAAAMAAA0Q", "EAA|Ayyvzobwopwsoyviocmwcev", "EAA|AyYvZObW0PWs0YvI0CMWc3v+/x"] },
    Row { rule: "teams-webhook",
        found: &["https://a.webhook.office|.com/webhookb2/6a1e9c0d-3b5f-4a7e-9d21-8c4f0b7a2e65@6a1e9c0d-3b5f-4a7e-9d21-8c4f0b7a2e65/IncomingWebhook/0a1b2c3d4e5f60718293a4b5c6d7e8f9/x"],
        missed: &["https://a.webhook.office|.com/webhookb2/6a1e9c0d/IncomingWebhook/0a1b2c3d4e5f60718293a4b5c6d7e8f9"] },
    Row { rule: "json-web-token",
        found: &["Bearer ey|JhbGciOiJIUzI1NiJ9.ey|JzdWIiOiJ1c2VybmFtZTpib2IifQ.HcfCW67Uda-0gz54ZWTqmtgJnZeNem0Q757eTa9EZuw",
            "ZXlK|aGJHY2lPaUpJVXpJMU5pSjkuZXlKemRXSWlPaUoxYzJWeWJtRnRaVHBpYjJJaWZRLkhjZkNXNjdVZGEtMGd6NTRaV1RxbXRnSm5aZU5lbTBRNzU3ZVRhOUVadXc="],
        missed: &["ey|JhbGciOiJIUzI1NiJ9.ey|JzdWIiOiJ1c2VybmFtZTpib2IifQ", "th|ey.are.not_a_token_at_all_and_so", "ZXlK|aGJHY2lPaUpJVXpJMU5pSjk="] },
    Row { rule: "curl-credentials",
        found: &["cur|l -u elastic:q7RkZ2mN https://x", "cur|l -uelastic:q7RkZ2mN x", "cur|l -H 'Authorization: Basic djJlNEpYa0NJUHZ5a2FW' x", "cur|l x \\\n  --header \"X-Api-Key: 3a16750d-d363-41a4-8ebd-035408f7730f\"", "cur|l --user 'api:d2LkV78zLx!t' x", "cur|l -u 'd2LkV78zLx!t:' x"],
        missed: &["cur|l -u user:password x", "cur|l -u \"$1:$2\"", "cur|l -u '${{ env.ELK_ID }}:${{ build.env.ELK_PASS }}'", "cur|l -H 'Authorization: Bearer <token>'", "cur|l -H 'Authorization: Bearer $TOKEN2x3Y'", "cur|l -H 'Content-Type: q7RkZ2mNf84LsTw0'", "nc -u q7RkZ2:mNf84LsTw0", "cur|l -url q7RkZ2:mNf84LsTw0"] },
    Row { rule: "stripe-test-key", found: &["sk|_test_q7RkZ2mNf84LsTw0YbVx3JcD"], missed: &["sk|_test_xxxxxxxxxxxxxxxxxxxxxxxx", "task_test_q7RkZ2mNf84LsTw0YbVx3JcD"] },
    Row { rule: "infracost-key", found: &["ico|-YkD1J1nQ3VzhsabaCO2oOiBNTiocp5Ly"], missed: &["box.ico|-7a388b69018576d24b59331fd60aab0c.png"] },
    Row { rule: "octopus-key", found: &["API|-ZNRMR7SL6L3ATMOIK7GKJDKLPY"], missed: &["API|-WHATNOBODYREADSABOUTATALL1", "API|-ZNRMR7SL6L3"] },
    Row { rule: "sentry-token",
        found: &["sntrys|_eyJpYXQiOjE2ODczMzY1NDMuNjk4NTksInVybCI6bnVsbCwicmVnaW9uX3VybCI6Imh0dHA6Ly9sb2NhbGhvc3Q6ODAwMCJ9_q7RkZ2mNf84LsTw0YbVx3JcDh6GpAe9UiKoQq7RkZ2m"],
        missed: &["sntrys|_eyJpYXQiOjE2ODczMzY1NDMuNjk4NTksInVybCI6bnVsbCwicmVnaW9uX3VybCI6Imh0dHA6Ly9sb2NhbGhvc3Q6ODAwMCJ9_short"] },
    Row { rule: "terraform-token",
        found: &["hE1hlYILrSqpqh|.atlasv1.ARjZuyzl33F71WR55s6ln5GQ1HWIwTDDH3MiRjz7OnpCfaCb1RCF5zGaSncCWmJdcYA"],
        missed: &["hE1hlYILrSqpqh|.atlasv1.short", "x|.atlasv1.ARjZuyzl33F71WR55s6ln5GQ1HWIwTDDH3MiRjz7OnpCfaCb1RCF5zGaSncCWmJdcYA"] },
    Row { rule: "databricks-token", found: &["dap|i0a1b2c3d4e5f60718293a4b5c6d7e8f9", "dap|i0a1b2c3d4e5f60718293a4b5c6d7e8f9-2"], missed: &["dap|i00000000000000000000000000000000", "dap|i_version", "rdap|i0a1b2c3d4e5f60718293a4b5c6d7e8f9"] },
];

fn ids(template: &str) -> Vec<&'static str> {
    let text = template.replace("BODY", BODY);
    let text = text.replace("||", "\0").replace('|', "").replace('\0', "|");
    let scanner = Scanner::new().expect("the literals compile");
    scanner
        .scan(text.as_bytes())
        .iter()
        .map(|hit| hit.rule.id)
        .collect()
}

#[test]
fn every_rule_finds_its_shape_and_nothing_near_it() {
    for row in ROWS {
        for text in row.found {
            assert_eq!(ids(text), [row.rule], "{text}");
        }
        for text in row.missed {
            assert_eq!(ids(text), [""; 0], "{text}");
        }
    }
}

#[test]
fn every_rule_with_a_shape_of_its_own_has_a_row() {
    for rule in RULES {
        let simple = matches!(rule.find, Find::Token(..) | Find::Parts(..));
        let has_row = ROWS.iter().any(|row| row.rule == rule.id);
        assert!(simple || has_row, "{}", rule.id);
    }
}

/// Numbers by chance, the same in every run.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).expect("31 bits") % end
    }

    fn body(&mut self, alphabet: fn(u8) -> bool, length: usize) -> String {
        let letters: Vec<u8> = (0..=127)
            .filter(|b| alphabet(*b) && !b"-_.=".contains(b))
            .collect();
        (0..length)
            .map(|_| char::from(letters[self.below(letters.len())]))
            .collect()
    }
}

/// The body of a token of that shape; `None` for shapes of their own.
fn body(find: &Find, mut part: impl FnMut(fn(u8) -> bool, usize) -> String) -> Option<String> {
    match find {
        Find::Token(alphabet, length) => Some(part(*alphabet, length.start)),
        Find::Parts(alphabet, separator, lengths) => {
            let parts: Vec<String> = lengths
                .iter()
                .map(|length| part(*alphabet, *length))
                .collect();
            Some(parts.join(&char::from(*separator).to_string()))
        }
        Find::With(_) => None,
    }
}

#[test]
fn tokens_by_chance_are_found_beside_quotes_escapes_and_options() {
    const AROUND: [(&str, &str); 12] = [
        ("", ""),
        ("a = \"", "\""),
        ("'", "',"),
        ("`", "`"),
        ("\u{201c}", "\u{201d}"),
        ("\\\"", "\\\""),
        ("?t%3D", "%26"),
        ("t%253D", ""),
        ("t\\u003d", "\\u0026"),
        ("\\n", "\\n"),
        ("curl -u", ": x"),
        ("&quot;", "&quot;"),
    ];
    let mut chance = Chance(1);
    let scanner = Scanner::new().expect("the literals compile");
    for rule in RULES {
        for at in 0..100 {
            let Some(body) = body(&rule.find, |alphabet, length| chance.body(alphabet, length))
            else {
                break;
            };
            let token = format!("{}{body}", rule.literals[at % rule.literals.len()]);
            let (before, after) = AROUND[at % AROUND.len()];
            let text = format!("{before}{token}{after}");
            let hits = scanner.scan(text.as_bytes());
            assert_eq!(hits.len(), 1, "{} in {text}", rule.id);
            assert_eq!(text[hits[0].range.clone()], token, "{} in {text}", rule.id);
        }
    }
}

/// Labels and the bytes their bodies begin with: what `ssh-keygen` and `openssl` write.
const KEYS: [(&str, &str); 8] = [
    ("RSA PRIVATE KEY", "MIIEpAIBAAKCAQEA"),
    ("RSA PRIVATE KEY", "MIIJKQIBAAKCAgEA"),
    ("DSA PRIVATE KEY", "MIIBuwIBAAKBgQD"),
    ("EC PRIVATE KEY", "MHcCAQEEI"),
    ("PRIVATE KEY", "MC4CAQAwBQYDK2VwBCIEI"),
    ("PRIVATE KEY", "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC"),
    (
        "ENCRYPTED PRIVATE KEY",
        "MIIFLTBXBgkqhkiG9w0BBQ0wSjApBgkqhkiG9w0BBQww",
    ),
    (
        "OPENSSH PRIVATE KEY",
        "b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtzc2gtZW",
    ),
];

#[test]
fn private_keys_by_chance_are_found_whatever_their_letters_and_wherever_they_stand() {
    let mut chance = Chance(3);
    let scanner = Scanner::new().expect("the literals compile");
    for (label, head) in KEYS {
        for at in 0..1000 {
            let length = [56 + at % 9, 300, 1600][at % 3].max(head.len() + 40);
            let body = chance.body(base64, length - head.len());
            let body = format!("{head}{body}==");
            let width = [64, 70][at % 2];
            let lines: Vec<&str> = (0..body.len().div_ceil(width))
                .map(|line| &body[line * width..body.len().min((line + 1) * width)])
                .collect();
            let pem = |end: &str| {
                let lines = lines.join(end);
                format!("-----BEGIN {label}-----{end}{lines}{end}-----END {label}-----{end}")
            };
            let encoded = || base64::engine::general_purpose::STANDARD.encode(pem("\n"));
            let text = match at % 5 {
                0 => pem("\n"),
                1 => pem("\r\n"),
                2 => format!("{{\"key\": \"{}\"}}", pem("\\n")),
                3 => format!("  tls.key: {}\nnext: 1\n", encoded()),
                _ => format!("key: |\n    {}", pem("\n    ")),
            };
            let hits = scanner.scan(text.as_bytes());
            assert_eq!(hits.len(), 1, "{text}");
            assert_eq!(hits[0].rule.id, "private-key");
        }
    }
}

#[test]
fn tokens_by_chance_are_found_where_they_are_assigned_to_their_vendor() {
    const FORMS: [(&str, &str); 10] = [
        ("NAME_api_token = \"", "\""),
        ("NAMEToken=", "\n"),
        ("var NAMEToken string = \"", "\""),
        ("NAMEToken := `", "`"),
        ("string NAME_KEY = \"", "\";"),
        ("{\"NAME_TOKEN\": \"", "\"}"),
        ("NAME-token: ", "\n"),
        ("<NAMEToken>", "</NAMEToken>"),
        ("config[\"NAME_secret\"] = '", "'"),
        ("NAME_TOKEN := ", " # comment"),
    ];
    let mut chance = Chance(4);
    let scanner = Scanner::new().expect("the literals compile");
    let (mut asked, mut missed) = (0, 0);
    for (names, shapes) in VENDORS {
        for (at, (before, after)) in FORMS.iter().cycle().take(60).enumerate() {
            let (prefix, alphabet, length) = &shapes[at % shapes.len()];
            // Shapes with separators at fixed places are not drawn by chance.
            if alphabet(b'-') && alphabet(b'a') && !alphabet(b'g') {
                continue;
            }
            let body = chance.body(*alphabet, length.start);
            let name = [names[0].to_owned(), names[0].to_uppercase()][at % 2].clone();
            let text = format!("{before}{prefix}{body}{after}").replace("NAME", &name);
            let hits = scanner.scan(text.as_bytes());
            asked += 1;
            // A short body may lack digits by chance.
            missed += usize::from(hits.len() != 1);
        }
    }
    assert!(asked > 3000 && missed * 50 < asked, "{missed} of {asked}");
}

#[test]
fn what_stands_beside_the_name_of_a_vendor_is_not_always_its_token() {
    for text in [
        "datadog_api_key = os.environ[\"DATADOG_API_KEY_OF_PRODUCTION_TEAM\"]",
        "uses: codecov/codecov-action@ab904c41d6ece82784817410c45d8b8c02684457",
        "jira = \"xxxxxxxxxxxxxxxxxxxxxxxx\"",
        "twitter: abcdefghijklmnopqrstuvwxy",
        "heroku = 00000000-0000-0000-0000-000000000000",
        "trello and then q7RkZ2mNf84LsTw0YbVx3JcDh6GpAe9U",
        "asana = \"q7RkZ2mNf84LsTw0YbVx3JcDh6GpAe9Uq7RkZ2\"",
        "SetSysctl = \"jwadx0silzozjbhyi2en4b74\"",
    ] {
        assert_eq!(ids(text), [""; 0], "{text}");
    }
    assert_eq!(
        ids("heroku_key = 6a1e9c0d|-3b5f-4a7e-9d21-8c4f0b7a2e65"),
        ["vendor-token"]
    );
}

#[test]
fn a_value_that_its_name_calls_a_secret_is_one_if_it_looks_like_chance() {
    for text in [
        "some_api_token_123 = \"q7RkZ2mNf84LsTw0YbVx3JcDh6Gp|Ae9U\"",
        "\"credentials\" : \"0afae57f3ccfd9d7f5767067bc48b30f|719e271ba470488056e37ab35d4b6506\"",
        "mySecretString=OlBCMUCxJrPysEL0cfURPfL8|GLLc1a",
        "passwd = MQPTBBwM8HzK2Hj_rt3nhv.BOK|Ox2Q",
        "env(\"api_token\", \"dafa7817-e246-48f3|-91a7-e87653d587b8\")",
    ] {
        assert_eq!(ids(text), ["named-secret"], "{text}");
    }
    for text in [
        "credentialsId: '29f63271-dc2f-4734-8221-5b31b5169bac'",
        "public_token = \"q7RkZ2mNf84LsTw0YbVx3JcDh6GpAe9U\"",
        "csrf-token=q7RkZ2mNf84LsTw0YbVx3JcDh6GpAe9U",
        "password_hash = q7RkZ2mNf84LsTw0YbVx3JcDh6GpAe9U",
        "primaryKey = q7RkZ2mNf84LsTw0YbVx3JcDh6GpAe9U",
        "token: message-lib-v1.0.2-2024-01-31",
        "token = \"the-name-of-a-secret-in-2024\"",
        "secret = config.readTheSecretOfUser2From1",
        "tokens of q7RkZ2mNf84LsTw0YbVx3JcDh6GpAe9U",
        "password = 0123456789abcdef0123456789abcdef",
    ] {
        assert_eq!(ids(text), [""; 0], "{text}");
    }
}

#[test]
fn base64_of_a_certificate_is_no_key() {
    let encode = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
    let pem = |label: &str| format!("-----BEGIN {label}-----\n{BODY}\n{BODY}\n");
    for label in ["CERTIFICATE", "PUBLIC KEY"] {
        assert_eq!(ids(&encode(&pem(label))), [""; 0]);
    }
    let key = encode(&pem("PRIVATE KEY"));
    let wrapped: Vec<&str> = [&key[..76], &key[76..152], &key[152..]].into();
    assert_eq!(ids(&wrapped.join("\n    ")), ["private-key"]);
    assert_eq!(ids(&key[..60]), [""; 0]);
}

#[test]
fn no_token_is_a_placeholder_or_part_of_a_word() {
    let mut chance = Chance(2);
    let scanner = Scanner::new().expect("the literals compile");
    for rule in RULES {
        let same = |alphabet: fn(u8) -> bool, length| {
            let letter = if alphabet(b'x') { "x" } else { "0" };
            letter.repeat(length)
        };
        let by_chance = body(&rule.find, |alphabet, length| chance.body(alphabet, length));
        let (Some(placeholder), Some(body)) = (body(&rule.find, same), by_chance) else {
            continue;
        };
        let literal = rule.literals[0];
        for text in [
            format!("{literal}{placeholder}"),
            format!("{literal}{}", &body[1..]),
            format!("a{literal}{body}"),
            format!("-{literal}{body}"),
        ] {
            assert_eq!(
                scanner.scan(text.as_bytes()).len(),
                0,
                "{} in {text}",
                rule.id
            );
        }
    }
}

#[test]
fn letters_that_spell_a_word_by_chance_make_no_placeholder_of_a_long_body() {
    let key = "-----BEGIN| RSA PRIVATE KEY-----\nYoUrMIIExxxxAAAAAAAAredacted\nBODY\nBODY\n";
    assert_eq!(ids(key), ["private-key"]);
    let long =
        "pypi-|AgEIcHlwaS5vcmcCJDq7RkZ2mNf84yourTw0YbVx3JcDh6GpAe9UiKoQq7RkZ2mNf84LsTyourKoQq7RkZ";
    assert_eq!(ids(long), ["pypi-token"]);
    assert_eq!(
        ids("ghp|_q7RkZ2mNf84LsTwYoUrx3JcDh6GpAe9UiKoQ"),
        ["github-token"]
    );
    assert_eq!(ids("ghp|_q7RkZ2mNf84LsTwyourx3JcDh6GpAe9UiKoQ"), [""; 0]);
}

#[test]
fn an_id_and_the_secret_beside_it_are_two_findings() {
    let pair = "AKI|AQ3EGRVDLK7M2ZT5H, kR7/vLq2+ZbXw9TnYc4HsJ6p|Gd1MfEa8UiOoBt3N";
    assert_eq!(ids(pair), ["aws-access-key-id", "aws-secret-access-key"]);
}

#[test]
fn a_key_is_told_from_another_but_not_from_itself_with_other_text_behind() {
    let range = |text: &str| {
        let text = text.replace("BODY", BODY).replace('|', "");
        let scanner = Scanner::new().expect("the literals compile");
        let hits = scanner.scan(text.as_bytes());
        text[hits[0].range.clone()].to_owned()
    };
    let key = "-----BEGIN| RSA PRIVATE KEY-----\nBODY\nBODY\n";
    assert_eq!(range(key), range(&format!("{key}tail")));
    assert_ne!(
        range(key),
        range(&key.replace("BODY", &BODY.replace('M', "N")))
    );
}

proptest::proptest! {
    #[test]
    fn arbitrary_bytes_around_literals_never_panic(
        literal in 0..RULES.len(),
        before: Vec<u8>,
        after: Vec<u8>,
    ) {
        let mut text = before;
        text.extend_from_slice(RULES[literal].literals[0].as_bytes());
        text.extend_from_slice(&after);
        for hit in Scanner::new().expect("the literals compile").scan(&text) {
            assert!(hit.range.end <= text.len());
        }
    }
}
