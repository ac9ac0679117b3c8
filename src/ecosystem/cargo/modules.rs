//! The files that a Rust file names as modules: `mod x;` and `#[path]`, found in its tokens.
//!
//! Scans one file ([`declarations`]) and lists the places that a declaration may refer to
//! ([`Declaration::candidates`]). Both include too much rather than too little: cfg'd-out modules, `cfg_if!` arms,
//! function bodies and macro bodies count, and every place that rustc or rustfmt may try is a candidate. Comments,
//! strings and lifetimes are distinguished from code. Does not check which candidates exist.

use serde::{Deserialize, Serialize};

use crate::path::RelPath;

/// A module in a separate file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Declaration {
    /// The inline modules (`mod a { … }`) around it, outermost first.
    pub(crate) within: Vec<Module>,
    pub(crate) module: Module,
}

/// A module's name and the values of its `path` attributes (including `cfg_attr`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Module {
    /// Without `r#`.
    pub(crate) name: String,
    /// `path = "…"`, in order.
    pub(crate) paths: Vec<String>,
}

/// A module may be in a place that cannot be followed; holds its `path`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unfollowed(pub String);

/// If a declaration has more candidates, they are not followed: only hostile sources nest that deep.
const MAX_PLACES: usize = 256;

impl Declaration {
    /// Every file the declaration may refer to in `file`.
    pub(crate) fn candidates(&self, file: &RelPath) -> Result<Vec<RelPath>, Unfollowed> {
        let mut found = Vec::new();
        for folder in self.folders(file)? {
            let name = &self.module.name;
            for text in [format!("{name}.rs"), format!("{name}/mod.rs")] {
                found.extend(folder.join(&text));
            }
            for path in &self.module.paths {
                found.push(follow(&folder, path)?);
            }
        }
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }

    /// The folders its name may be relative to: beside the file for `mod.rs`, crate roots and files reached by
    /// `#[path]`; for others the folder named like the file, and beside the file, which rustfmt tries next.
    fn folders(&self, file: &RelPath) -> Result<Vec<RelPath>, Unfollowed> {
        let beside = file.parent().unwrap_or_default();
        let stem = file
            .file_name()
            .rsplit_once('.')
            .map_or(file.file_name(), |(stem, _)| stem);
        let mut folders: Vec<RelPath> = beside.join(stem).into_iter().collect();
        folders.push(beside);
        for module in &self.within {
            let mut inner = Vec::new();
            for folder in &folders {
                inner.extend(folder.join(&module.name));
                for path in &module.paths {
                    inner.push(follow(folder, path)?);
                }
            }
            if inner.len() > MAX_PLACES {
                return Err(Unfollowed(module.name.clone()));
            }
            folders = inner;
        }
        Ok(folders)
    }
}

fn follow(folder: &RelPath, path: &str) -> Result<RelPath, Unfollowed> {
    folder
        .join(&path.replace('\\', "/"))
        .map_err(|_| Unfollowed(path.to_owned()))
}

/// All modules in separate files that `source` declares, in order.
#[must_use]
pub(crate) fn declarations(source: &str) -> Vec<Declaration> {
    let mut scan = Scan::default();
    for token in Lexer::new(source) {
        scan.take(token);
    }
    scan.found
}

/// The part of `mod NAME` seen so far.
#[derive(Debug, Default, PartialEq, Eq)]
enum Head<'a> {
    #[default]
    None,
    Mod,
    Named(&'a str),
}

/// The part of `path = "…"` inside an attribute seen so far.
#[derive(Debug, Default, PartialEq, Eq)]
enum PathKey {
    #[default]
    None,
    Path,
    Equals,
}

/// The state of walking over the tokens of a file.
#[derive(Debug, Default)]
struct Scan<'a> {
    found: Vec<Declaration>,
    /// One per open brace; `Some` for inline modules.
    braces: Vec<Option<Module>>,
    paths: Vec<String>,
    head: Head<'a>,
    key: PathKey,
    /// Depth of `[` inside an attribute; 0 outside.
    attribute: usize,
    hash: bool,
}

impl<'a> Scan<'a> {
    fn take(&mut self, token: Token<'a>) {
        if self.attribute > 0 {
            self.take_in_attribute(token);
            return;
        }
        let after_hash = std::mem::take(&mut self.hash);
        let head = std::mem::take(&mut self.head);
        match token {
            Token::Ident("mod") => self.head = Head::Mod,
            Token::Ident(name) if head == Head::Mod => self.head = Head::Named(name),
            Token::Punct(b'#') => self.hash = true,
            // The `!` of an inner attribute.
            Token::Punct(b'!') if after_hash => self.hash = true,
            Token::Punct(b'[') if after_hash => self.attribute = 1,
            Token::Punct(b';') => {
                let paths = std::mem::take(&mut self.paths);
                if let Head::Named(name) = head {
                    self.declare(name, paths);
                }
            }
            Token::Punct(b'{') => {
                let paths = std::mem::take(&mut self.paths);
                self.braces.push(match head {
                    Head::Named(name) => Some(Module {
                        name: name.to_owned(),
                        paths,
                    }),
                    _ => None,
                });
            }
            Token::Punct(b'}') => {
                self.braces.pop();
                self.paths.clear();
            }
            Token::Ident(_) | Token::Text(_) | Token::Punct(_) => {}
        }
    }

    fn take_in_attribute(&mut self, token: Token<'a>) {
        let key = std::mem::take(&mut self.key);
        match token {
            Token::Punct(b'[') => self.attribute += 1,
            Token::Punct(b']') => self.attribute -= 1,
            Token::Ident("path") => self.key = PathKey::Path,
            Token::Punct(b'=') if key == PathKey::Path => self.key = PathKey::Equals,
            Token::Text(text) if key == PathKey::Equals => self.paths.push(text),
            _ => {}
        }
    }

    fn declare(&mut self, name: &str, paths: Vec<String>) {
        self.found.push(Declaration {
            within: self.braces.iter().flatten().cloned().collect(),
            module: Module {
                name: name.to_owned(),
                paths,
            },
        });
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Token<'a> {
    /// An identifier or keyword without `r#`.
    Ident(&'a str),
    /// The value of a string literal.
    Text(String),
    /// Any other byte of code.
    Punct(u8),
}

/// Splits source text into the few relevant kinds of tokens. Never fails: invalid Rust yields some tokens.
struct Lexer<'a> {
    source: &'a str,
    at: usize,
}

impl<'a> Lexer<'a> {
    const fn new(source: &'a str) -> Self {
        Self { source, at: 0 }
    }

    fn rest(&self) -> &'a str {
        self.source.get(self.at..).unwrap_or_default()
    }

    fn skip_line(&mut self) {
        self.at += self.rest().find('\n').unwrap_or(self.rest().len());
    }

    fn skip_block_comment(&mut self) {
        let bytes = self.rest().as_bytes();
        let mut depth = 0_usize;
        let mut at = 0;
        while at < bytes.len() {
            match bytes.get(at..at + 2) {
                Some(b"/*") => {
                    depth += 1;
                    at += 2;
                }
                Some(b"*/") => {
                    depth -= 1;
                    at += 2;
                }
                _ => at += 1,
            }
            if depth == 0 {
                break;
            }
        }
        self.at += at;
    }

    /// Skips a `'`: a character literal or the quote of a lifetime.
    fn skip_quote(&mut self) {
        self.at += 1;
        let mut chars = self.rest().chars();
        match (chars.next(), chars.next()) {
            (Some('\\'), Some(escaped)) => {
                self.at += 1 + escaped.len_utf8();
                if let Some(end) = self.rest().find('\'') {
                    self.at += end + 1;
                }
            }
            (Some(char), Some('\'')) => self.at += char.len_utf8() + 1,
            _ => {}
        }
    }

    /// A string literal, starting at its opening quote.
    fn text(&mut self) -> Token<'a> {
        self.at += 1;
        let mut value = String::new();
        let mut chars = self.rest().char_indices();
        while let Some((_, char)) = chars.next() {
            match char {
                '"' => break,
                '\\' => match chars.next() {
                    Some((_, 'n')) => value.push('\n'),
                    Some((_, 't')) => value.push('\t'),
                    Some((_, other)) => value.push(other),
                    None => {}
                },
                other => value.push(other),
            }
        }
        self.at = self.source.len() - chars.as_str().len();
        Token::Text(value)
    }

    /// A raw string, starting at its first `#` or its quote; `None` if it is not a raw string.
    fn raw_text(&mut self) -> Option<Token<'a>> {
        let rest = self.rest();
        let body = rest.trim_start_matches('#');
        let hashes = rest.len() - body.len();
        let body = body.strip_prefix('"')?;
        let end = format!("\"{}", "#".repeat(hashes));
        let length = body.find(&end).unwrap_or(body.len());
        let value = body.get(..length)?.to_owned();
        self.at = (self.at + hashes + 1 + length + end.len()).min(self.source.len());
        Some(Token::Text(value))
    }

    fn word(&mut self) -> Token<'a> {
        let rest = self.rest();
        let length = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(length);
        self.at += length;
        if matches!(word, "r" | "br" | "cr") && after.starts_with(['"', '#']) {
            if let Some(text) = self.raw_text() {
                return text;
            }
            if let Some(name) = after.strip_prefix('#').filter(|s| s.starts_with(is_word)) {
                let length = name.find(|c| !is_word(c)).unwrap_or(name.len());
                self.at += 1 + length;
                return Token::Ident(name.get(..length).unwrap_or_default());
            }
        }
        if matches!(word, "b" | "c") && after.starts_with('"') {
            return self.text();
        }
        Token::Ident(word)
    }
}

impl<'a> Iterator for Lexer<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        loop {
            let rest = self.rest();
            let char = rest.chars().next()?;
            match char {
                _ if rest.starts_with("//") => self.skip_line(),
                _ if rest.starts_with("/*") => self.skip_block_comment(),
                '\'' => self.skip_quote(),
                '"' => return Some(self.text()),
                _ if is_word(char) => return Some(self.word()),
                _ => {
                    self.at += char.len_utf8();
                    match u8::try_from(char) {
                        Ok(byte) if !byte.is_ascii_whitespace() => return Some(Token::Punct(byte)),
                        _ => {}
                    }
                }
            }
        }
    }
}

fn is_word(char: char) -> bool {
    char == '_' || char.is_alphanumeric()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The candidates of all declarations of `source` standing in `file`.
    fn candidates(file: &str, source: &str) -> Vec<String> {
        let file = RelPath::new(file).unwrap();
        let mut all: Vec<String> = declarations(source)
            .iter()
            .flat_map(|declaration| declaration.candidates(&file).unwrap())
            .map(|path| path.as_str().to_owned())
            .collect();
        all.sort_unstable();
        all
    }

    fn names(source: &str) -> Vec<String> {
        let declarations = declarations(source);
        declarations.into_iter().map(|d| d.module.name).collect()
    }

    #[test]
    fn a_module_may_lie_in_four_places() {
        assert_eq!(
            candidates("src/a.rs", "mod b;"),
            ["src/a/b.rs", "src/a/b/mod.rs", "src/b.rs", "src/b/mod.rs"]
        );
    }

    #[test]
    fn every_form_of_declaration_counts() {
        for source in [
            "mod x;",
            "pub mod x;",
            "pub(crate) mod x ;",
            "#[cfg(no)] mod x;",
            "#[rustfmt::skip]\nmod x;",
            "mod /* why */ x // not\n;",
            "cfg_if! { if #[cfg(a)] { mod x; } }",
            "macro_rules! m { () => { mod x; } }",
            "fn f<'a>() { let c = '\\''; let d = '{'; } mod x;",
            "const S: &str = \"mod no;\"; const T: &str = r#\"mod no; \"{\"#; mod x;",
            "const B: &[u8] = b\"{\\\"\"; mod x;",
            "/* /* nested */ mod no; */ mod x;",
            "mod r#x;",
            "fn f() -> Foo<'static> { 'label: loop {} } mod x;",
        ] {
            assert_eq!(names(source), ["x"], "{source}");
        }
    }

    #[test]
    fn what_is_no_declaration_does_not_count() {
        for source in [
            "// mod x;",
            "mod x { }",
            "let modx; r\"mod x;\"",
            "mod $name;",
            "use a::mod_x;",
        ] {
            assert_eq!(names(source), [""; 0], "{source}");
        }
    }

    #[test]
    fn path_attributes_add_places() {
        let found = candidates(
            "src/lib.rs",
            "#[cfg_attr(unix, path = \"unix.rs\")] #[cfg_attr(windows, path = r\"win\\dows.rs\")] mod sys;",
        );
        for place in ["src/unix.rs", "src/win/dows.rs", "src/sys.rs"] {
            assert!(found.contains(&place.to_owned()), "{place} in {found:?}");
        }
        // The attribute belongs to the next item only.
        let found = candidates("src/lib.rs", "#[path = \"p.rs\"] mod a; mod b;");
        assert_eq!(found.iter().filter(|p| *p == "src/p.rs").count(), 1);
    }

    #[test]
    fn inline_modules_are_folders() {
        let found = candidates(
            "src/lib.rs",
            "mod a { #[path = \"alt\"] mod b { mod c; } } mod d;",
        );
        for place in ["src/a/b/c.rs", "src/a/alt/c.rs", "src/d.rs"] {
            assert!(found.contains(&place.to_owned()), "{place} in {found:?}");
        }
    }

    #[test]
    fn a_path_out_of_the_project_is_told() {
        let declared = declarations("#[path = \"../../x.rs\"] mod x;");
        let file = RelPath::new("src/lib.rs").unwrap();
        assert_eq!(
            declared[0].candidates(&file),
            Err(Unfollowed("../../x.rs".to_owned()))
        );
    }

    #[test]
    fn deep_nests_of_paths_stay_cheap() {
        let open = "#[path = \"a\"] mod b { ".repeat(64);
        let declared = declarations(&format!("{open} mod x; {}", "}".repeat(64)));
        let file = RelPath::new("src/lib.rs").unwrap();
        assert!(declared[0].candidates(&file).is_err());
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(
            text in "(mod |x|;|\\{|\\}|#\\[path=|\"|'|r#|/\\*|\\*/|//|\\\\|\\PC|\n){0,60}"
        ) {
            let file = RelPath::new("src/a.rs").unwrap();
            for declaration in declarations(&text) {
                let _ = declaration.candidates(&file);
            }
        }

        #[test]
        fn nearly_right_text_never_panics(text in crate::testing::damaged_text(
            "#[path = \"b.rs\"]\npub(crate) mod a; /* /* */ */ mod c { mod d; }\nr#\"mod e;\"#; '\"' b'x' // mod f;\n#[cfg_attr(x, path = \"g.rs\")] mod g;\n",
        )) {
            let file = RelPath::new("src/a.rs").unwrap();
            for declaration in declarations(&text) {
                let _ = declaration.candidates(&file);
            }
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = declarations(&String::from_utf8_lossy(&bytes));
        }
    }
}
