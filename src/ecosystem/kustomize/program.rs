//! Where kustomize, and the git it fetches with, come from: the host's PATH; in containers an image of kustomize, the
//! system packages, or the image that the user chose.

use crate::path::RelPath;
use crate::plan::{Build, Images, Layer, LayerKind, Plan, Script, Tool, container_folder};
use crate::provision::base::{Base, Wanted, base, is_chosen};
use crate::provision::program::Found;
use crate::scope::Scope;

/// The image that holds kustomize unless the configuration says otherwise, whose schema tells the same.
const IMAGE: &str = "registry.k8s.io/kustomize/kustomize:v5.8.2";

/// Where it is in there.
const PLACE: &str = "/app/kustomize";

const NAME: &str = "kustomize";
const LAYER: &str = "tools:kustomize";

/// In the configuration: the one of the base image.
const OF_BASE: &str = "base";

/// What builds run with.
pub(super) struct Programs {
    /// kustomize itself with what it needs, or why there is none.
    pub(super) kustomize: Result<Vec<Tool>, String>,
    /// git with what it needs, or why there is none. What it fetches does not depend on which git it is.
    pub(super) git: Result<Vec<Tool>, String>,
    /// The layers they stand on.
    pub(super) layers: Vec<String>,
    /// Why results cannot be stored, if so: it cannot be told which kustomize will run.
    pub(super) not_cached: Option<String>,
}

impl Programs {
    /// Those for checks of this scope; layers they need join the plan.
    pub(super) fn find(scope: &Scope<'_>, plan: &mut Plan) -> Self {
        match scope.images {
            Some(images) => in_containers(scope, images, plan),
            None => on_host(scope),
        }
    }
}

fn on_host(scope: &Scope<'_>) -> Programs {
    let mut found = Found::default();
    let there = found.add(scope, NAME);
    let not_cached = found.not_cached.take();
    let kustomize = there.then(|| found.into_tools()).ok_or_else(|| {
        "is not on PATH; install it (`go install sigs.k8s.io/kustomize/kustomize/v5@latest`) or use \
         `--engine dagger`"
            .to_owned()
    });
    let mut git = Found::default();
    if !git.add(scope, "git") {
        git.add_absent("git");
    }
    Programs {
        kustomize,
        git: Ok(git.into_tools()),
        layers: vec!["base".to_owned()],
        not_cached,
    }
}

fn in_containers(scope: &Scope<'_>, images: &dyn Images, plan: &mut Plan) -> Programs {
    let of_image = |name: &str| Tool::Image {
        name: name.to_owned(),
    };
    let git = if is_chosen(images) {
        Ok(vec![of_image("git")])
    } else {
        Err("fetches a repository, which takes git, and the default image has none; add it: `[layers.base] packages = \
             [\"ca-certificates\", \"git\"]`".to_owned())
    };
    let base = match base(scope, images, plan, Wanted::debian(&RelPath::root())) {
        Ok(base) => base,
        Err(why) => {
            return Programs {
                kustomize: Err(format!("cannot run: {why}")),
                git,
                layers: Vec::new(),
                not_cached: None,
            };
        }
    };
    let image = images.tool(NAME).unwrap_or(IMAGE);
    let (kustomize, layers) = if image == OF_BASE || images.packages().iter().any(|p| p == NAME) {
        (Ok(vec![of_image(NAME)]), base.layers)
    } else {
        match images.reference(image) {
            Ok(reference) => {
                let layers = base.with(LAYER);
                plan.layers.push(layer(&base, reference));
                let tool = Tool::Layer {
                    name: NAME.to_owned(),
                    layer: LAYER.to_owned(),
                    path: NAME.to_owned(),
                    version: None,
                };
                (Ok(vec![tool]), layers)
            }
            Err(why) => (Err(format!("cannot run: {why}")), base.layers),
        }
    };
    Programs {
        kustomize,
        git,
        layers,
        not_cached: None,
    }
}

/// The layer that holds the program of an image.
fn layer(base: &Base, reference: String) -> Layer {
    let here = format!("{}/{NAME}", container_folder(LAYER));
    let digest = reference.rsplit('@').next().unwrap_or(&reference);
    Layer {
        name: LAYER.to_owned(),
        kind: LayerKind::Tools,
        on: vec![base.top().to_owned()],
        parts: vec![("image of kustomize".to_owned(), digest.to_owned())],
        build: Build::Script(Box::new(Script {
            // One for another platform would fail every build; this says so once.
            text: format!("{here} version\n"),
            programs: vec![(reference, PLACE.to_owned(), here)],
            ..Script::default()
        })),
    }
}
