//! Images for planning: pinned by the lock, memoised, or resolved.
//!
//! Resolved images are memoised in the store's facts, so that a Fresh run asks nobody, and reported to the user,
//! because another machine may get something else under the same name.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::config::Config;
use crate::digest::{Digest, Hasher};
use crate::ecosystem::QUESTIONS;
use crate::facts::Facts;
use crate::plan::image::{full_name, is_archive};
use crate::plan::{Image, Images, Layer};
use crate::provision::base::image_layer;
use crate::tool::Tools;

use super::format::{Lock, NAME, is_digest};

/// Kinds of facts: the content of a name, the programs in an image, the output of a script.
const RESOLVED: &str = "image/1";
const HOLDS: &str = "image-holds/2";
const SAID: &str = "image-says/1";

/// Resolves images. Answers are requested once and memoised.
pub(crate) trait Resolve {
    /// The engine's address, which the answers depend on.
    fn engine(&self) -> &str;

    /// The digest (`sha256:…`) that the registry has for a name, and the platform (`linux/amd64`) the engine runs it
    /// on.
    ///
    /// # Errors
    /// If there is no answer.
    fn resolve(&self, name: &str) -> Result<(String, String), NoAnswer>;

    /// The standard output of a script (for `sh -eu`) in a container on this chain of layers, lowest first. The
    /// layers are built as for checks.
    fn ask(&self, layers: &[Layer], script: &str) -> Result<String, NoAnswer>;
}

/// Why there is no answer, in words for the user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NoAnswer {
    /// There is no engine to ask.
    Engine(String),
    /// The engine could not find out.
    Image(String),
    /// What failed is named, with the ways out.
    Whole(String),
}

impl NoAnswer {
    /// The whole message. `what` is the answer to, and `pinned` what the lock would do about it.
    fn message(self, what: &str, pinned: &str) -> String {
        match self {
            Self::Engine(why) => format!(
                "cannot find out {what}, which {NAME} does not say: {why}\n\
                 help: run again where the engine can be reached, or use `--engine local`, which needs no image"
            ),
            Self::Image(why) => format!(
                "cannot find out {what}: {why}\n\
                 help: `cargo dagcache lock`, run where the registry can be reached, {pinned}; `--engine local` needs no image"
            ),
            Self::Whole(message) => message,
        }
    }
}

/// There is no engine to ask.
#[derive(Debug, Clone)]
pub(crate) struct NoEngine {
    /// The reason, for the user.
    pub(crate) why: String,
}

impl Resolve for NoEngine {
    fn engine(&self) -> &str {
        ""
    }

    fn resolve(&self, _: &str) -> Result<(String, String), NoAnswer> {
        Err(NoAnswer::Engine(self.why.clone()))
    }

    fn ask(&self, _: &[Layer], _: &str) -> Result<String, NoAnswer> {
        Err(NoAnswer::Engine(self.why.clone()))
    }
}

/// The image settings of the configuration.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wishes {
    /// `[layers.base] image`.
    pub(crate) image: Option<String>,
    /// `[layers.base] packages`.
    pub(crate) packages: Vec<String>,
    /// `[engine] incremental`.
    pub(crate) incremental: bool,
    /// `[layers.tools]`.
    pub(crate) tools: BTreeMap<String, String>,
}

impl Wishes {
    #[must_use]
    pub(crate) fn of(config: &Config) -> Self {
        Self {
            image: config.layers.base.image.clone(),
            packages: config.layers.base.packages.clone(),
            incremental: config.engine.incremental,
            tools: config.layers.tools.clone(),
        }
    }
}

/// The platform of containers on a local engine.
#[must_use]
pub(crate) fn host_platform() -> String {
    let arch = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    format!("linux/{arch}")
}

pub(crate) struct Pins<'a> {
    /// The project's lock.
    pub(crate) lock: &'a Lock,
    pub(crate) facts: &'a Facts,
    pub(crate) tools: &'a Tools,
    pub(crate) root: &'a Path,
    pub(crate) resolver: &'a dyn Resolve,
    pub(crate) wishes: Wishes,
    /// The platform of containers.
    pub(crate) platform: String,
    state: Mutex<State>,
}

/// What this plan has needed so far.
#[derive(Debug, Default)]
struct State {
    /// Answers and failures, so that only the first of many checks asks.
    known: BTreeMap<String, Result<Image, String>>,
    /// Images that containers are based on, whose content was queried.
    bases: BTreeSet<String>,
    unpinned: BTreeSet<String>,
}

impl<'a> Pins<'a> {
    /// Images as pinned by the given lock.
    #[must_use]
    pub(crate) fn new(
        lock: &'a Lock,
        facts: &'a Facts,
        tools: &'a Tools,
        root: &'a Path,
        resolver: &'a dyn Resolve,
        wishes: Wishes,
    ) -> Self {
        Self {
            lock,
            facts,
            tools,
            root,
            resolver,
            wishes,
            platform: host_platform(),
            state: Mutex::default(),
        }
    }

    /// Forgets resolved names and output of scripts, so that this run asks again.
    pub(crate) fn ask_again(facts: &Facts) {
        for kind in [RESOLVED, HOLDS, SAID] {
            facts.renew(kind);
        }
    }

    /// The registry images needed so far.
    pub(crate) fn used(&self) -> Result<Vec<Image>, String> {
        let state = self.lock();
        let of_registries = state.known.iter().filter(|(name, _)| !is_archive(name));
        let (good, bad): (Vec<_>, Vec<_>) = of_registries
            .map(|(_, answer)| answer.clone())
            .partition(Result::is_ok);
        if bad.is_empty() {
            return Ok(good.into_iter().flatten().collect());
        }
        let messages: Vec<String> = bad.into_iter().filter_map(Result::err).collect();
        // Most of them share the same help, which is printed once.
        let lines = messages.iter().flat_map(|message| message.lines());
        let (mut ways, mut whys): (Vec<_>, Vec<_>) =
            lines.partition(|line| line.starts_with("help: "));
        ways.dedup();
        whys.append(&mut ways);
        Err(whys.join("\n"))
    }

    /// One line listing the unpinned images in use.
    #[must_use]
    pub(crate) fn warning(&self) -> Option<String> {
        let state = self.lock();
        let names: Vec<String> = state.unpinned.iter().map(|n| format!("`{n}`")).collect();
        let (all, digests) = match names.as_slice() {
            [] => return None,
            [one] => (format!("image {one} is not pinned"), "its digest"),
            several => (
                format!("images {} are not pinned", several.join(", ")),
                "their digests",
            ),
        };
        Some(format!(
            "{all}; run `cargo dagcache lock` to write {digests} to {NAME}"
        ))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The image of this name, including its programs if it is a `base`.
    fn known(&self, name: &str, base: bool) -> Result<Image, String> {
        let name = full_name(name)?;
        {
            let state = self.lock();
            let looked_at = !base || state.bases.contains(&name);
            match state.known.get(&name) {
                Some(Ok(image)) if looked_at => return Ok(image.clone()),
                Some(Err(why)) => return Err(why.clone()),
                _ => {}
            }
        }
        let answer = self.find(&name, base);
        let mut state = self.lock();
        if base {
            state.bases.insert(name.clone());
        }
        state.known.insert(name, answer.clone());
        answer
    }

    fn find(&self, name: &str, base: bool) -> Result<Image, String> {
        if let Some(pinned) = self.lock.find(name, &self.platform) {
            return Ok(pinned.clone());
        }
        let (digest, platform) = if is_archive(name) {
            let digest = self.tools.digest(&self.root.join(name));
            let digest =
                digest.map_err(|error| format!("cannot read the image `{name}`: {error}"))?;
            (format!("sha256:{digest}"), self.platform.clone())
        } else if let Some(digest) = own_digest(name) {
            (digest.to_owned(), self.platform.clone())
        } else {
            let resolved = self.resolved(name)?;
            self.lock().unpinned.insert(name.to_owned());
            resolved
        };
        let image = Image {
            name: name.to_owned(),
            digest,
            platform,
            holds: BTreeMap::new(),
        };
        if !base {
            return Ok(image);
        }
        let holds = self.holds(&image)?;
        Ok(Image { holds, ..image })
    }

    fn resolved(&self, name: &str) -> Result<(String, String), String> {
        let input = input(&[name, &self.platform]);
        self.facts.derive(RESOLVED, input, || {
            let (digest, platform) = self
                .resolver
                .resolve(name)
                .map_err(|no| no.message(&format!("which image `{name}` is"), "pins it"))?;
            if is_digest(&digest) {
                Ok((digest, platform))
            } else {
                Err(format!(
                    "the engine names `{digest}` for the image `{name}`, which is not a digest"
                ))
            }
        })
    }

    /// The answers to the questions about an image.
    fn holds(&self, image: &Image) -> Result<BTreeMap<String, String>, String> {
        let input = input(&[&image.digest, &image.platform]);
        self.facts.derive(HOLDS, input, || {
            let layer = image_layer(self.root, "base".to_owned(), image)?;
            let scripts = QUESTIONS.iter().map(|question| (question.script)());
            let script = scripts.collect::<Vec<_>>().join("\n");
            let said = self.resolver.ask(&[layer], &script).map_err(|no| {
                let what = format!("what is in the image `{}`", image.name);
                no.message(&what, "writes it down")
            })?;
            let answers = QUESTIONS.iter().filter_map(|question| {
                let answer = said.lines().find_map(question.answer)?;
                Some((question.name.to_owned(), answer))
            });
            Ok(answers.collect())
        })
    }
}

impl Images for Pins<'_> {
    fn image(&self, name: &str) -> Result<Image, String> {
        self.known(name, true)
    }

    fn reference(&self, name: &str) -> Result<String, String> {
        self.known(name, false).map(|image| image.reference())
    }

    fn ask(&self, layers: &[Layer], script: &str) -> Result<String, String> {
        let mut parts = vec![self.resolver.engine(), script];
        for layer in layers {
            parts.push(&layer.name);
            for (name, value) in &layer.parts {
                parts.extend([name.as_str(), value.as_str()]);
            }
        }
        self.facts.derive(SAID, input(&parts), || {
            self.resolver.ask(layers, script).map_err(|no| {
                let last = layers.last().map_or("base", |layer| layer.name.as_str());
                match no {
                    NoAnswer::Whole(message) => message,
                    NoAnswer::Engine(why) | NoAnswer::Image(why) => {
                        format!("cannot find out what is in the layer `{last}`: {why}")
                    }
                }
            })
        })
    }

    fn configured(&self) -> Option<&str> {
        self.wishes.image.as_deref()
    }

    fn packages(&self) -> &[String] {
        &self.wishes.packages
    }

    fn incremental(&self) -> bool {
        self.wishes.incremental
    }

    fn tool(&self, name: &str) -> Option<&str> {
        self.wishes.tools.get(name).map(String::as_str)
    }
}

/// The digest that is part of a name.
fn own_digest(name: &str) -> Option<&str> {
    let digest = name.split_once('@')?.1;
    is_digest(digest).then_some(digest)
}

fn input(parts: &[&str]) -> Digest {
    let mut hasher = Hasher::new();
    for part in parts {
        hasher.part(part.as_bytes());
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    /// Answers and writes down what it is asked.
    #[derive(Default)]
    struct Registry {
        salt: RefCell<String>,
        asked: RefCell<Vec<String>>,
    }

    impl Resolve for Registry {
        fn engine(&self) -> &str {
            "unix:///x"
        }

        fn resolve(&self, name: &str) -> Result<(String, String), NoAnswer> {
            self.asked.borrow_mut().push(name.to_owned());
            let digest = Digest::of(format!("{name}{}", self.salt.borrow()).as_bytes());
            Ok((format!("sha256:{digest}"), host_platform()))
        }

        fn ask(&self, layers: &[Layer], _: &str) -> Result<String, NoAnswer> {
            let names: Vec<&str> = layers.iter().map(|layer| layer.name.as_str()).collect();
            self.asked
                .borrow_mut()
                .push(format!("ask {}", names.join(" ")));
            Ok("noise\nrustc 1.95.0 (x)\n".to_owned())
        }
    }

    impl Registry {
        fn asked(&self) -> Vec<String> {
            self.asked.take()
        }
    }

    struct World {
        folder: tempfile::TempDir,
        facts: Facts,
        tools: Tools,
        registry: Registry,
    }

    impl World {
        fn new() -> Self {
            Self {
                folder: tempfile::tempdir().expect("a folder"),
                facts: Facts::default(),
                tools: Tools::default(),
                registry: Registry::default(),
            }
        }

        fn pins<'a>(&'a self, lock: &'a Lock) -> Pins<'a> {
            Pins::new(
                lock,
                &self.facts,
                &self.tools,
                self.folder.path(),
                &self.registry,
                Wishes::default(),
            )
        }
    }

    const RUST: &str = "docker.io/library/rust:1";

    #[test]
    fn a_pinned_image_is_asked_about_nowhere() {
        let world = World::new();
        let image = Image {
            name: RUST.to_owned(),
            digest: format!("sha256:{}", Digest::of(b"x")),
            platform: host_platform(),
            holds: [("rust".to_owned(), "rustc 1".to_owned())].into(),
        };
        let lock = Lock::new(vec![image.clone()]);
        let pins = world.pins(&lock);
        assert_eq!(pins.image("rust:1"), Ok(image.clone()));
        assert_eq!(pins.reference(RUST), Ok(image.reference()));
        assert!(world.registry.asked().is_empty());
        assert_eq!(pins.warning(), None);
        let other = Pins {
            platform: "linux/other".to_owned(),
            ..world.pins(&lock)
        };
        assert_ne!(other.image(RUST), Ok(image));
    }

    #[test]
    fn what_is_not_pinned_is_asked_once_remembered_and_said() {
        let world = World::new();
        let lock = Lock::default();
        let first = world.pins(&lock);
        let image = first.image(RUST).expect("an image");
        let rust = ("rust".to_owned(), "rustc 1.95.0 (x)".to_owned());
        assert_eq!(image.holds, [rust].into());
        assert_eq!(world.registry.asked(), [RUST, "ask base"]);
        for pins in [&first, &world.pins(&lock)] {
            assert_eq!(pins.image(RUST), Ok(image.clone()));
            assert_eq!(
                pins.warning(),
                Some(format!(
                    "image `{RUST}` is not pinned; run `cargo dagcache lock` to write its digest to dagcache.lock"
                ))
            );
        }
        assert!(world.registry.asked().is_empty());
    }

    #[test]
    fn a_program_image_is_not_looked_into_until_containers_begin_with_it() {
        let world = World::new();
        let lock = Lock::default();
        let pins = world.pins(&lock);
        pins.reference(RUST).expect("a reference");
        assert_eq!(world.registry.asked(), [RUST]);
        assert!(
            pins.image(RUST)
                .expect("an image")
                .holds
                .contains_key("rust")
        );
        assert_eq!(world.registry.asked(), ["ask base"]);
        assert_eq!(pins.used().map(|used| used.len()), Ok(1));
    }

    #[test]
    fn asked_again_a_name_may_mean_something_else() {
        let world = World::new();
        let lock = Lock::default();
        let before = world.pins(&lock).image(RUST).expect("an image");
        world.registry.salt.replace("2".to_owned());
        assert_eq!(world.pins(&lock).image(RUST), Ok(before.clone()));
        Pins::ask_again(&world.facts);
        let after = world.pins(&lock).image(RUST).expect("an image");
        assert_ne!(after.digest, before.digest);
    }

    #[test]
    fn an_archive_and_a_name_with_a_digest_are_pinned_by_themselves() {
        let world = World::new();
        std::fs::write(world.folder.path().join("base.tar"), "x").expect("written");
        let lock = Lock::default();
        let pins = world.pins(&lock);
        let archive = pins.image("./base.tar").expect("an image");
        assert_eq!(archive.digest, format!("sha256:{}", Digest::of(b"x")));
        let digest = format!("sha256:{}", Digest::of(b"y"));
        let named = pins.image(&format!("rust@{digest}")).expect("an image");
        assert_eq!(named.digest, digest);
        assert_eq!(world.registry.asked(), ["ask base", "ask base"]);
        assert_eq!(pins.warning(), None);
        let used = pins.used().expect("images");
        assert_eq!(used, [named]);
        assert!(pins.image("./no.tar").is_err());
    }

    #[test]
    fn without_an_engine_the_image_the_lock_and_the_ways_out_are_named() {
        let world = World::new();
        let lock = Lock::default();
        let nobody = NoEngine {
            why: "no Dagger engine is configured".to_owned(),
        };
        let pins = Pins {
            resolver: &nobody,
            ..world.pins(&lock)
        };
        let why = pins.image(RUST).expect_err("nobody knows");
        for part in [
            RUST,
            "dagcache.lock",
            "no Dagger engine is configured",
            "--engine local",
        ] {
            assert!(why.contains(part), "{why}");
        }
        assert!(!why.contains("`cargo dagcache lock`"), "{why}");
        assert_eq!(pins.used(), Err(why.clone()));
        pins.image("docker.io/library/other:1").expect_err("nobody");
        let all = pins.used().expect_err("nobody knows");
        assert_eq!(all.lines().count(), 3, "{all}");
        assert!(
            all.ends_with(why.lines().last().expect("a way out")),
            "{all}"
        );
    }
}
