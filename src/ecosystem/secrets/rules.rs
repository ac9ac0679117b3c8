//! The kinds of secrets, one line each.
//!
//! Every kind is anchored on a literal (`ghp_`, `-----BEGIN `); only there is its shape looked at. A shape is narrow on
//! purpose: exact alphabet, exact or minimal length, a boundary on both sides, and a body that is no placeholder
//! ([`plain`](super::shapes::plain)). Sources: the vendors' own descriptions of their token formats.

use std::ops::Range;

use super::alphabets::{
    alnum, any_hex, dashed, dashed_padded, dotted, dotted_padded, hex, padded, underscored,
    upper_alnum,
};
use super::shapes::plain::{parts, token};
use super::shapes::{curl, private_keys, vendors, web_tokens};

/// One kind of secret.
#[derive(Debug)]
pub(super) struct Rule {
    /// The code of its findings; part of baseline lines, so it never changes.
    pub(crate) id: &'static str,
    pub(crate) what: &'static str,
    /// Why a finding is only a warning: what it finds is often no secret, or one that may be seen.
    pub(crate) doubt: Option<&'static str>,
    pub(crate) literals: &'static [&'static str],
    pub(crate) find: Find,
}

/// How a secret is recognised where a literal of its rule was found.
#[derive(Debug)]
pub(super) enum Find {
    /// The literal is followed by so many bytes of an alphabet, and then by none.
    Token(fn(u8) -> bool, Range<usize>),
    /// The literal is followed by parts of these lengths with a separator in between.
    Parts(fn(u8) -> bool, u8, &'static [usize]),
    /// The function gets the text and the place of the literal, and returns the place of the secret.
    With(fn(&[u8], Range<usize>) -> Option<Range<usize>>),
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
        doubt: None,
        literals,
        find,
    }
}

const fn warning(rule: Rule, doubt: &'static str) -> Rule {
    Rule {
        doubt: Some(doubt),
        ..rule
    }
}

const PUBLIC: &str = "it may be seen by users, but perhaps not by everyone";
const TEST: &str = "for tests, but it opens an account";
const EXAMPLE: &str = "often an example";
const TOKEN: &str = "often an example or expired";

const MANY: usize = 4096;

#[rustfmt::skip]
pub(super) static RULES: &[Rule] = &[
    rule("private-key", "private key", &["-----BEGIN "], Find::With(private_keys::pem)),
    rule("private-key", "private key in base64", &["LS0tLS1CRUdJTi"], Find::With(private_keys::encoded_pem)),
    rule("putty-private-key", "PuTTY private key", &["PuTTY-User-Key-File-"], Find::With(private_keys::putty)),
    rule("age-secret-key", "age secret key", &["AGE-SECRET-KEY-1"], Find::With(private_keys::age)),
    rule("aws-access-key-id", "AWS access key id", &["AKIA", "ASIA", "ABIA", "ACCA"], Find::With(vendors::aws_id)),
    rule("aws-secret-access-key", "AWS secret access key",
        &["AKIA", "ASIA", "ABIA", "ACCA", "SECRET_ACCESS_KEY", "secret_access_key", "secretAccessKey", "SecretAccessKey", "aws_secret_key", "AWS_SECRET_KEY"],
        Find::With(vendors::aws_secret)),
    rule("github-token", "GitHub token", &["ghp_", "gho_", "ghu_", "ghs_", "ghr_"], Find::Token(alnum, 36..256)),
    rule("github-token", "GitHub token", &["github_pat_"], Find::Token(underscored, 82..83)),
    rule("gitlab-token", "GitLab token", &["glpat-", "gldt-", "glrt-", "glptt-", "glcbt-", "glffct-", "glft-", "glimt-", "glagent-", "gloas-", "glsoat-", "GR1348941"], Find::Token(dotted, 20..MANY)),
    rule("gitlab-session", "GitLab session cookie", &["_gitlab_session="], Find::Token(alnum, 32..33)),
    rule("slack-token", "Slack token", &["xoxb-", "xoxp-", "xoxs-", "xoxe-", "xoxe.xoxb-", "xoxe.xoxp-", "xapp-"], Find::With(vendors::slack)),
    rule("slack-token", "Slack token", &["xoxa-", "xoxr-", "xoxo-"], Find::With(vendors::slack_legacy)),
    rule("slack-webhook", "Slack webhook", &["hooks.slack.com/"], Find::With(vendors::slack_webhook)),
    rule("stripe-key", "Stripe live key", &["sk_live_", "rk_live_", "sk_prod_", "rk_prod_"], Find::Token(alnum, 24..MANY)),
    warning(rule("stripe-test-key", "Stripe test key", &["sk_test_", "rk_test_"], Find::Token(alnum, 24..MANY)), TEST),
    rule("google-api-key", "Google API key", &["AIza"], Find::Token(dashed, 35..36)),
    rule("npm-token", "npm token", &["npm_"], Find::Token(alnum, 36..37)),
    rule("pypi-token", "PyPI token", &["pypi-AgEIcHlwaS5vcmc", "pypi-AgENdGVzdC5weXBpLm9yZw"], Find::Token(dashed, 50..MANY)),
    rule("crates-io-token", "crates.io token", &["cio"], Find::With(vendors::crates_io)),
    rule("docker-token", "Docker Hub token", &["dckr_pat_", "dckr_oat_"], Find::Token(dashed, 27..65)),
    rule("sendgrid-key", "SendGrid key", &["SG."], Find::With(vendors::sendgrid)),
    rule("twilio-key", "Twilio API key", &["twilio", "Twilio", "TWILIO"], Find::With(vendors::twilio)),
    rule("telegram-bot-token", "Telegram bot token", &[":A"], Find::With(vendors::telegram)),
    rule("anthropic-key", "Anthropic key", &["sk-ant-"], Find::Token(dashed, 40..MANY)),
    rule("openai-key", "OpenAI key", &["sk-proj-", "sk-svcacct-", "sk-admin-"], Find::Token(dashed, 40..MANY)),
    rule("openai-key", "OpenAI key", &["T3BlbkFJ"], Find::With(vendors::openai)),
    rule("huggingface-token", "Hugging Face token", &["hf_"], Find::With(vendors::hugging_face)),
    rule("huggingface-token", "Hugging Face token", &["api_org_"], Find::Token(alnum, 34..35)),
    rule("digitalocean-token", "DigitalOcean token", &["dop_v1_", "doo_v1_", "dor_v1_"], Find::Token(hex, 64..65)),
    rule("vault-token", "Vault token", &["hvs.", "hvb."], Find::With(vendors::vault)),
    rule("vault-token", "Vault token", &["s."], Find::With(vendors::vault_legacy)),
    rule("azure-storage-key", "Azure storage account key", &["AccountKey", "accountKey", "account_key", "ACCOUNT_KEY"], Find::With(vendors::azure)),
    rule("databricks-token", "Databricks token", &["dapi"], Find::Token(hex, 32..33)),
    rule("1password-token", "1Password service account token", &["ops_eyJ"], Find::Token(padded, 200..MANY)),
    rule("1password-secret-key", "1Password secret key", &["A3-"], Find::Parts(upper_alnum, b'-', &[6, 11, 5, 5, 5])),
    rule("1password-secret-key", "1Password secret key", &["A3-"], Find::Parts(upper_alnum, b'-', &[6, 6, 5, 5, 5, 5])),
    rule("adobe-secret", "Adobe client secret", &["p8e-"], Find::Token(alnum, 32..33)),
    rule("authress-key", "Authress access key", &[".acc_", ".acc-"], Find::With(vendors::authress)),
    rule("airtable-token", "Airtable token", &["pat"], Find::Parts(alnum, b'.', &[14, 64])),
    rule("alibaba-key-id", "Alibaba access key id", &["LTAI"], Find::Token(alnum, 20..21)),
    rule("artifactory-key", "Artifactory API key", &["AKCp"], Find::Token(alnum, 69..70)),
    rule("artifactory-token", "Artifactory reference token", &["cmVmdGtu"], Find::Token(alnum, 56..57)),
    rule("bedrock-key", "Amazon Bedrock API key", &["ABSKQmVkcm9ja0FQSUtleS"], Find::Token(padded, 60..MANY)),
    rule("azure-client-secret", "Azure client secret", &["Q~"], Find::With(vendors::azure_client)),
    rule("bedrock-key", "Amazon Bedrock API key", &["bedrock-api-key-"], Find::Token(padded, 28..MANY)),
    rule("clickhouse-key", "ClickHouse Cloud key", &["4b1d"], Find::Token(alnum, 38..39)),
    rule("clojars-token", "Clojars token", &["CLOJARS_"], Find::Token(alnum, 60..61)),
    rule("cloudflare-ca-key", "Cloudflare origin CA key", &["v1.0-"], Find::Parts(hex, b'-', &[24, 146])),
    rule("defined-networking-key", "Defined Networking key", &["dnkey-"], Find::Token(dashed_padded, 79..80)),
    rule("doppler-token", "Doppler token", &["dp.pt.", "dp.st.", "dp.sa."], Find::Token(dotted, 40..64)),
    rule("duffel-token", "Duffel token", &["duffel_live_", "duffel_test_"], Find::Token(dashed_padded, 43..44)),
    rule("dynatrace-token", "Dynatrace token", &["dt0c01.", "dt0s01.", "dt0s02."], Find::Parts(alnum, b'.', &[24, 64])),
    rule("easypost-key", "EasyPost key", &["EZAK", "EZTK"], Find::Token(alnum, 54..55)),
    rule("facebook-token", "Facebook page token", &["EAAM", "EAAC"], Find::Token(alnum, 96..MANY)),
    rule("facebook-token", "Facebook page token", &["EAACEdEose0cBA"], Find::Token(alnum, 20..MANY)),
    rule("flutterwave-key", "Flutterwave key", &["FLWSECK-", "FLWSECK_TEST-"], Find::Token(hex, 32..33)),
    rule("flutterwave-key", "Flutterwave key", &["FLWSECK_TEST-"], Find::Token(alnum, 12..13)),
    warning(rule("flutterwave-public-key", "Flutterwave public key", &["FLWPUBK-", "FLWPUBK_TEST-"], Find::Parts(alnum, b'-', &[32, 1])), PUBLIC),
    rule("facebook-token", "Facebook access token", &["|"], Find::With(vendors::facebook)),
    rule("fly-token", "Fly.io token", &["fo1_"], Find::Token(dashed, 43..44)),
    rule("fly-token", "Fly.io token", &["fm1a_", "fm1r_", "fm2_"], Find::Token(padded, 100..MANY)),
    rule("frameio-token", "Frame.io token", &["fio-u-"], Find::Token(dashed, 64..65)),
    rule("grafana-token", "Grafana token", &["glsa_"], Find::Parts(alnum, b'_', &[32, 8])),
    rule("grafana-token", "Grafana token", &["glc_"], Find::Token(padded, 32..MANY)),
    rule("grafana-key", "Grafana API key", &["eyJrIjoi"], Find::Token(padded, 70..MANY)),
    rule("harness-token", "Harness token", &["pat.", "sat."], Find::Parts(dashed, b'.', &[22, 24, 20])),
    rule("heroku-key", "Heroku API key", &["HRKU-AA"], Find::Token(dashed, 58..59)),
    rule("infracost-key", "Infracost API key", &["ico-"], Find::With(vendors::infracost)),
    rule("42-secret", "42 client secret", &["s-s4t2ud-", "s-s4t2af-"], Find::Token(hex, 64..65)),
    rule("linear-key", "Linear API key", &["lin_api_"], Find::Token(alnum, 40..41)),
    rule("maxmind-key", "MaxMind license key", &["_mmk"], Find::With(vendors::maxmind)),
    rule("mailgun-key", "Mailgun key", &["key-"], Find::Token(hex, 32..33)),
    rule("new-relic-key", "New Relic key", &["NRAK-"], Find::Token(alnum, 27..28)),
    rule("new-relic-key", "New Relic key", &["NRII-"], Find::Token(dashed, 32..33)),
    rule("notion-token", "Notion token", &["ntn_"], Find::Token(alnum, 46..47)),
    rule("octopus-key", "Octopus Deploy API key", &["API-"], Find::With(vendors::octopus)),
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
    rule("sentry-token", "Sentry token", &["sntrys_eyJ"], Find::With(vendors::sentry)),
    rule("settlemint-token", "SettleMint token", &["sm_pat_", "sm_aat_", "sm_sat_"], Find::Token(alnum, 16..17)),
    rule("shippo-token", "Shippo token", &["shippo_live_", "shippo_test_"], Find::Token(any_hex, 40..41)),
    rule("shopify-token", "Shopify token", &["shpat_", "shpca_", "shppa_", "shpss_"], Find::Token(any_hex, 32..33)),
    rule("sourcegraph-token", "Sourcegraph token", &["sgp_", "sgp_local_"], Find::Token(any_hex, 40..41)),
    rule("sourcegraph-token", "Sourcegraph token", &["sgp_"], Find::Parts(any_hex, b'_', &[16, 40])),
    rule("sidekiq-credentials", "Sidekiq credentials", &["@gems.contribsys.com", "@enterprise.contribsys.com"], Find::With(vendors::sidekiq)),
    rule("sidekiq-credentials", "Sidekiq credentials", &["CONTRIBSYS__COM", "contribsys__com"], Find::With(vendors::sidekiq_setting)),
    rule("square-token", "Square token", &["EAAA"], Find::With(vendors::square)),
    rule("square-token", "Square token", &["sq0atp-"], Find::Token(dashed, 22..61)),
    rule("square-secret", "Square secret", &["sq0csp-"], Find::Token(dashed, 43..44)),
    rule("teams-webhook", "Microsoft Teams webhook", &[".webhook.office.com/webhookb2/"], Find::With(vendors::teams)),
    rule("terraform-token", "Terraform Cloud token", &[".atlasv1."], Find::With(vendors::terraform)),
    rule("typeform-token", "Typeform token", &["tfp_"], Find::Token(dotted_padded, 44..80)),
    rule("yandex-key", "Yandex Cloud API key", &["AQVN"], Find::Token(dashed, 35..39)),
    warning(rule("json-web-token", "JSON web token", &["ey"], Find::With(web_tokens::jwt)), TOKEN),
    warning(rule("json-web-token", "JSON web token in base64", &["ZXlK"], Find::With(web_tokens::encoded_jwt)), TOKEN),
    warning(rule("curl-credentials", "credentials of a curl command", &["curl"], Find::With(curl::credentials)), EXAMPLE),
];

/// Tokens that only the name beside them tells from other text.
pub(super) static VENDOR: Rule = by_name("vendor-token", "token beside the name of its vendor");

/// Ids and keys of vendors that a program shows to its users.
pub(super) static VENDOR_ID: Rule = warning(
    by_name(
        "vendor-id",
        "id or public key beside the name of its vendor",
    ),
    PUBLIC,
);

/// What a name calls a secret.
pub(super) static NAMED: Rule = warning(
    by_name("named-secret", "value that its name calls a secret"),
    EXAMPLE,
);

const fn by_name(id: &'static str, what: &'static str) -> Rule {
    rule(id, what, &[], Find::With(|_, _| None))
}

impl Rule {
    pub(crate) fn find(&self, text: &[u8], literal: Range<usize>) -> Option<Range<usize>> {
        match &self.find {
            Find::Token(alphabet, length) => token(text, literal, *alphabet, length),
            Find::Parts(alphabet, separator, lengths) => {
                parts(text, literal, *alphabet, *separator, lengths)
            }
            Find::With(find) => find(text, literal),
        }
    }
}

#[cfg(test)]
mod tests;
