//! What is staged is seen as a checkout would give it: line ends, idents, filters, encodings.

use crate::pre_commit::Repo;

/// Commits, and then asserts the same of a second commit, of which the first has left a memo.
#[track_caller]
fn twice(repo: &Repo) {
    repo.git(&["add", "--all"]).expect(0);
    repo.commits_exactly(&["commit", "-qm", "first"]);
    repo.git(&["commit", "-q", "--allow-empty", "-m", "again"])
        .expect(0);
    repo.saw_exactly(&repo.sandbox.project()).expect_fresh();
    let number = repo.git(&["rev-list", "--count", "HEAD"]).expect(0).stdout;
    repo.sandbox
        .write("text", format!("other\nlines\n{number}"));
    repo.git(&["add", "--all"]).expect(0);
    repo.commits_exactly(&["commit", "-qm", "second"]);
}

#[test]
fn line_ends_by_configuration() {
    let repo = Repo::with(&[("text", "two\nlines\n"), ("binary", "a\0\n")]);
    repo.git(&["config", "--global", "core.autocrlf", "true"])
        .expect(0);
    // Scripts with carriage returns do not run.
    repo.sandbox.write(".gitattributes", "*.sh text eol=lf\n");
    repo.sandbox.write("text", "some\nlines\n");
    twice(&repo);
    // Numbers are truths, too.
    repo.git(&["config", "--global", "core.autocrlf", "2"])
        .expect(0);
    repo.sandbox.write("text", "more\nlines\n");
    twice(&repo);
    repo.git(&["config", "--global", "core.autocrlf", "input"])
        .expect(0);
    repo.sandbox.write("text", "and\nmore\n");
    twice(&repo);
}

#[test]
fn line_ends_idents_and_encodings_by_attributes() {
    let repo = Repo::with(&[("text", "x\n"), ("see", "y\n")]);
    repo.sandbox.write(
        ".gitattributes",
        "* text=auto\ncrlf text eol=crlf\nident ident\nwide working-tree-encoding=UTF-16LE text\n",
    );
    repo.sandbox.write("crlf", "a\nb\n");
    repo.sandbox.write("ident", "$Id$\n");
    let wide: Vec<u8> = "w\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    repo.sandbox.write("wide", wide);
    twice(&repo);
    // Another rule for the same blobs: also one that is staged only.
    repo.sandbox.write(".gitattributes", "text eol=crlf\n");
    repo.git(&["add", "--all"]).expect(0);
    repo.sandbox.write(".gitattributes", "text eol=lf\n");
    repo.commits_exactly(&["commit", "-qm", "rules"]);
    repo.git(&["checkout", "-q", "."]).expect(0);
    repo.sandbox.write("sub/.gitattributes", "* eol=crlf\n");
    repo.sandbox.write("sub/file", "a\nb\n");
    twice(&repo);
}

#[test]
fn attributes_of_the_repository_and_of_the_user() {
    let repo = Repo::with(&[("text", "x\ny\n")]);
    let clones_too = repo.sandbox.home().join(".config/git");
    std::fs::create_dir_all(&clones_too).expect("folder");
    std::fs::write(clones_too.join("attributes"), "text eol=crlf\n").expect("write");
    repo.sandbox.write("a", "1\n");
    twice(&repo);
    std::fs::write(clones_too.join("attributes"), "text eol=lf\n").expect("write");
    repo.git(&["commit", "-q", "--allow-empty", "-m", "other rules"])
        .expect(0);
    repo.saw_exactly(&repo.sandbox.project());
    let own = repo.sandbox.path(".git/info");
    std::fs::create_dir_all(&own).expect("folder");
    std::fs::write(own.join("attributes"), "text eol=crlf\n").expect("write");
    let json = repo.sandbox.json(&["pre-commit"]).expect(0);
    let seen = json.check("see")["stdout"].as_str().expect("output");
    std::fs::remove_file(repo.sandbox.path("text")).expect("file");
    repo.git(&["checkout", "-q", "text"]).expect(0);
    let json = repo.sandbox.json(&["dev-check"]).expect(0);
    assert_eq!(json.check("see")["stdout"], seen);
    json.expect_fresh();
}

#[test]
fn filters() {
    let repo = Repo::with(&[("text", "x\n"), ("shout", "x\n")]);
    for (name, value) in [
        ("filter.case.clean", "tr A-Z a-z"),
        ("filter.case.smudge", "tr a-z A-Z"),
        ("filter.case.required", "true"),
    ] {
        repo.git(&["config", "--global", name, value]).expect(0);
    }
    repo.sandbox
        .write(".gitattributes", "shout filter=case\nnone filter=unknown\n");
    repo.sandbox.write("shout", "LOUD\n");
    repo.sandbox.write("none", "Case\n");
    twice(&repo);
    // Another command of the same name.
    repo.git(&["config", "--global", "filter.case.smudge", "sed s/l/L/"])
        .expect(0);
    repo.git(&["commit", "-q", "--allow-empty", "-m", "other"])
        .expect(0);
    repo.saw_exactly(&repo.sandbox.project());
    repo.git(&["config", "--global", "filter.case.smudge", "false"])
        .expect(0);
    let run = repo.sandbox.run(&["pre-commit"]).expect(3);
    assert!(run.stderr.contains("smudge filter"), "{}", run.stderr);
}

/// What a filter makes may depend on anything: it holds as long as the file on disk stays.
#[test]
fn a_filter_that_makes_something_else_later() {
    let repo = Repo::with(&[("text", "x\n")]);
    let data = repo.sandbox.outer().join("data");
    let smudge = format!("cat '{}' 2>/dev/null || cat", data.display());
    for (name, value) in [("smudge", smudge.as_str()), ("clean", "sed s/.*/pointer/")] {
        let name = format!("filter.data.{name}");
        repo.git(&["config", "--global", &name, value]).expect(0);
    }
    repo.sandbox.write(".gitattributes", "text filter=data\n");
    repo.git(&["add", "--all"]).expect(0);
    repo.commits_exactly(&["commit", "-qm", "first"]);
    let again = || {
        repo.sandbox.remove("text");
        repo.git(&["checkout", "-q", "text"]).expect(0);
        let args = ["commit", "-q", "--allow-empty", "-m", "again"];
        repo.commits_exactly(&args)
    };
    std::fs::write(&data, "fetched\n").expect("data");
    again();
    std::fs::write(&data, "another\n").expect("data");
    again();
    // One that is not on disk says nothing.
    repo.sandbox.remove("text");
    for text in ["third\n", "fourth\n"] {
        std::fs::write(&data, text).expect("data");
        repo.commits_exactly(&["commit", "-q", "--allow-empty", "-m", "gone"]);
    }
}

/// Git runs filters at the top of the work tree.
#[test]
fn a_filter_of_the_repository_itself() {
    let repo = Repo::with(&[("text", "x\n")]);
    repo.sandbox.script("tools/100%/f", "tr a-z A-Z");
    for (name, value) in [
        ("filter.own.smudge", "./tools/100%/f"),
        ("filter.own.clean", "tr A-Z a-z"),
        ("filter.own.required", "true"),
    ] {
        repo.git(&["config", "--global", name, value]).expect(0);
    }
    repo.sandbox.write(".gitattributes", "text filter=own\n");
    repo.git(&["add", "--all"]).expect(0);
    repo.git(&["commit", "-qm", "shouted"]).expect(0);
    repo.sandbox.remove("text");
    repo.git(&["checkout", "-q", "text"]).expect(0);
    assert_eq!(repo.sandbox.read("text"), "X\n");
    let json = repo.sandbox.json(&["dev-check"]).expect(0);
    json.expect_fresh();
}

/// A filter that never makes the same: what is checked is not what was hashed. Told, and not remembered.
#[test]
fn a_filter_that_is_never_the_same() {
    let repo = Repo::with(&[("text", "x\n")]);
    let count = "n=$(cat count 2>/dev/null); echo $((n + 1)) >count; cat; cat count";
    let smudge = format!("cd '{}' && {{ {count}; }}", repo.sandbox.outer().display());
    repo.git(&["config", "--global", "filter.count.smudge", &smudge])
        .expect(0);
    repo.git(&["config", "--global", "filter.count.clean", "head -n1"])
        .expect(0);
    repo.sandbox.write(".gitattributes", "text filter=count\n");
    repo.sandbox.write("text", "y\n");
    repo.git(&["add", "--all"]).expect(0);
    for _ in 0..2 {
        let json = repo.sandbox.json(&["pre-commit"]).expect(0);
        assert_eq!(json.check("see")["verdict"], "passed");
    }
    repo.git(&["config", "--global", "filter.count.smudge", "cat"])
        .expect(0);
    repo.sandbox.json(&["pre-commit"]).expect(0);
}
