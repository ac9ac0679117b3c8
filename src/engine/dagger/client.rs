//! Sends GraphQL queries to a session, over HTTP on the loopback, without a proxy.
//!
//! - [`Http`]: the client of a session. - `Recorder`: a client for tests with scripted answers.
//!
//! Parses answers; [`failure`](super::failure) interprets them.

use async_trait::async_trait;
use dagger_sdk::core::gql_client::{GraphQLErrorMessage, GraphQlExtension};
use dagger_sdk::core::graphql_client::{GraphQLClient, GraphQLError};
use serde_json::{Value, json};

use super::failure::{NO_CONNECTION, without_trace};

/// A client of one session with persistent connections.
#[derive(Debug)]
pub(super) struct Http {
    client: reqwest::Client,
    url: String,
    token: String,
}

impl Http {
    /// Connects to the session at this loopback port.
    pub(super) fn new(port: u16, token: &str) -> Result<Self, String> {
        let client = reqwest::Client::builder()
            .no_proxy() // It would receive the token.
            .redirect(reqwest::redirect::Policy::none())
            .build();
        Ok(Self {
            client: client.map_err(|error| chain(&error))?,
            url: format!("http://127.0.0.1:{port}/query"),
            token: token.to_owned(),
        })
    }
}

#[async_trait]
impl GraphQLClient for Http {
    async fn query(&self, query: &str) -> Result<Option<Value>, GraphQLError> {
        let lost = |error| GraphQLError::HttpError(format!("{NO_CONNECTION}: {}", chain(&error)));
        let request = self
            .client
            .post(&self.url)
            .basic_auth(&self.token, None::<&str>)
            .json(&json!({ "query": query }));
        let answer = request.send().await.map_err(lost)?;
        let status = answer.status().as_u16();
        let body = answer.bytes().await.map_err(lost)?;
        read(status, &body)
    }
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// Parses an answer. The SDK's own parser fails on errors with unknown extensions.
fn read(status: u16, body: &[u8]) -> Result<Option<Value>, GraphQLError> {
    const SHOWN: usize = 2000;
    let http = |what: &str| {
        let body = String::from_utf8_lossy(body);
        let shown: String = body.trim().chars().take(SHOWN).collect();
        GraphQLError::HttpError(format!("{what} (HTTP status {status}): {shown}"))
    };
    let Ok(Value::Object(mut answer)) = serde_json::from_slice(body) else {
        return Err(http("answer is not JSON"));
    };
    match answer.remove("errors") {
        None | Some(Value::Null) => {}
        Some(Value::Array(errors)) if errors.is_empty() => {}
        Some(Value::Array(errors)) => return Err(domain(&errors)),
        Some(_) => return Err(http("answer with malformed errors")),
    }
    if !(200..300).contains(&status) {
        return Err(http("answer without data"));
    }
    Ok(answer.remove("data").filter(|data| !data.is_null()))
}

/// All errors; the message is that of the first failed command, if any.
fn domain(errors: &[Value]) -> GraphQLError {
    let fields: Vec<GraphQLErrorMessage> = errors.iter().map(field).collect();
    let is_exec = |field: &&GraphQLErrorMessage| {
        matches!(field.extensions, Some(GraphQlExtension::ExecError { .. }))
    };
    let first = fields.iter().find(is_exec).or(fields.first());
    let message = first.map_or_else(String::new, |field| field.message.clone());
    GraphQLError::DomainError { message, fields }
}

fn field(error: &Value) -> GraphQLErrorMessage {
    let message = match error.get("message").and_then(Value::as_str) {
        Some(message) => message.to_owned(),
        None => error.to_string(),
    };
    GraphQLErrorMessage {
        message: without_trace(&message).to_owned(),
        locations: None,
        extensions: error.get("extensions").and_then(exec),
        path: None,
    }
}

/// The engine's details about a failed command.
fn exec(extensions: &Value) -> Option<GraphQlExtension> {
    if extensions.get("_type")?.as_str()? != "EXEC_ERROR" {
        return None;
    }
    let text = |name| extensions.get(name).and_then(Value::as_str);
    let words = extensions.get("cmd").and_then(Value::as_array);
    let words = words.into_iter().flatten();
    let code = extensions.get("exitCode")?.as_i64()?;
    Some(GraphQlExtension::ExecError {
        cmd: words.filter_map(Value::as_str).map(str::to_owned).collect(),
        exit_code: i32::try_from(code).ok()?,
        stderr: text("stderr").unwrap_or_default().to_owned(),
        stdout: text("stdout").unwrap_or_default().to_owned(),
    })
}

#[cfg(test)]
pub(super) use recorder::{Recorder, normalised};

#[cfg(test)]
mod recorder {
    use std::sync::{Arc, Mutex};

    use super::*;

    type Answer = dyn Fn(&str) -> Result<Option<Value>, GraphQLError> + Send + Sync;

    /// Records normalised queries and gives scripted answers.
    pub(in crate::engine::dagger) struct Recorder {
        asked: Mutex<Vec<String>>,
        answer: Box<Answer>,
    }

    impl Recorder {
        /// Answers with the result of `answer` for the normalised text of a query.
        pub(in crate::engine::dagger) fn new(
            answer: impl Fn(&str) -> Result<Option<Value>, GraphQLError> + Send + Sync + 'static,
        ) -> Arc<Self> {
            Arc::new(Self {
                asked: Mutex::default(),
                answer: Box::new(answer),
            })
        }

        /// The root of queries sent here.
        pub(in crate::engine::dagger) fn query(self: &Arc<Self>) -> dagger_sdk::Query {
            dagger_sdk::Query {
                proc: None,
                selection: dagger_sdk::Selection::default(),
                graphql_client: self.clone(),
            }
        }

        /// The recorded queries.
        pub(in crate::engine::dagger) fn asked(&self) -> Vec<String> {
            self.asked.lock().unwrap().clone()
        }
    }

    #[async_trait]
    impl GraphQLClient for Recorder {
        async fn query(&self, query: &str) -> Result<Option<Value>, GraphQLError> {
            let query = normalised(query);
            self.asked.lock().unwrap().push(query.clone());
            (self.answer)(&query)
        }
    }

    /// The text with each field's arguments sorted by name, because the SDK does not keep their order.
    pub(in crate::engine::dagger) fn normalised(query: &str) -> String {
        let mut out = String::new();
        let mut arguments: Vec<String> = Vec::new();
        let (mut depth, mut in_text, mut escaped) = (0_usize, false, false);
        for c in query.chars() {
            let before = depth;
            match c {
                _ if escaped => escaped = false,
                '\\' if in_text => escaped = true,
                '"' => in_text = !in_text,
                _ if in_text => {}
                '(' => depth += 1,
                // Brackets only count within arguments.
                '[' | '{' if depth > 0 => depth += 1,
                ')' | ']' | '}' if depth > 0 => depth -= 1,
                _ => {}
            }
            match (before, depth) {
                (0, 0) => out.push(c),
                (0, _) => arguments = vec![String::new()],
                (_, 0) => {
                    arguments.sort();
                    out.push_str(&format!("({})", arguments.join(", ")));
                }
                (1, 1) if !in_text && c == ',' => arguments.push(String::new()),
                (1, 1) if c == ' ' && arguments.last().is_some_and(String::is_empty) => {}
                _ => arguments.last_mut().unwrap().push(c),
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn arguments_are_sorted_by_name_and_nothing_else_is_touched() {
        let query = r#"query{a(z:["(", "b,c)"],b:"x\", y(",k:{q:1, a:[2]}){b(x:1){c}}}"#;
        let expected = r#"query{a(b:"x\", y(", k:{q:1, a:[2]}, z:["(", "b,c)"]){b(x:1){c}}}"#;
        assert_eq!(normalised(query), expected);
        assert_eq!(normalised(expected), expected);
    }

    #[tokio::test]
    async fn a_recorder_keeps_what_it_is_asked() {
        let recorder = Recorder::new(|_| Ok(Some(json!({"container": {"from": {"id": "i"}}}))));
        let container = recorder.query().container().from("debian");
        assert_eq!(container.id().await.unwrap().0, "i");
        assert_eq!(
            recorder.asked(),
            [r#"query{container{from(address:"debian"){id}}}"#]
        );
    }

    const EXEC: &str = r#"{"data":null,"errors":[{"message":"a","path":["container",0]},{"message":"exit code: 9 [traceparent:00-1]",
        "locations":[{"line":1,"column":2}],
        "extensions":{"_type":"EXEC_ERROR","cmd":["sh","-c","x"],"exitCode":9,"stdout":"out","stderr":"err"}}]}"#;

    #[test]
    fn errors_without_a_type_or_of_an_unknown_one_are_read_too() {
        for extensions in [
            "",
            r#","extensions":{"code":"X"}"#,
            r#","extensions":{"_type":7}"#,
        ] {
            let body = format!(r#"{{"errors":[{{"message":"no [traceparent:1]"{extensions}}}]}}"#);
            let error = read(200, body.as_bytes()).unwrap_err();
            assert_eq!(error.to_string(), "domain error: no");
        }
    }

    #[test]
    fn a_failed_command_stands_before_other_errors() {
        let error = read(200, EXEC.as_bytes()).unwrap_err();
        assert_eq!(error.to_string(), "domain error: exit code: 9");
    }

    proptest! {
        #[test]
        fn arbitrary_bodies_never_panic(status in 0_u16..600, body in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(status, &body);
        }

        #[test]
        fn nearly_right_bodies_never_panic(body in crate::testing::damaged(EXEC.as_bytes())) {
            if let Err(error) = read(200, &body) {
                let _ = super::super::failure::Failure::from(dagger_sdk::errors::DaggerError::Query(error));
            }
        }
    }
}
