//! Where kustomize, and the git it fetches with, come from: the host's PATH, or in containers an image of kustomize,
//! system packages, or the image chosen by the user.

use crate::path::RelPath;
use crate::plan::{Build, Images, Layer, LayerKind, Plan, Script, Tool, container_folder};
use crate::provision::base::{Base, Wanted, base, is_chosen};
use crate::provision::program::Found;
use crate::scope::Scope;

/// The default image of kustomize, also named in the configuration schema.
const IMAGE: &str = "registry.k8s.io/kustomize/kustomize:v5.8.2";

/// Its path in the image.
const PLACE: &str = "/app/kustomize";

const NAME: &str = "kustomize";
const LAYER: &str = "tools:kustomize";

/// In the configuration: the kustomize of the base image.
const OF_BASE: &str = "base";

/// The programs of builds.
pub(super) struct Programs {
    /// kustomize and the programs it needs, or why it is missing.
    pub(super) kustomize: Result<Vec<Tool>, String>,
    /// git and the programs it needs, or why it is missing. The fetched content does not depend on the version of
    /// git.
    pub(super) git: Result<Vec<Tool>, String>,
    pub(super) layers: Vec<String>,
    /// Why results cannot be stored: it is unknown which kustomize runs.
    pub(super) not_cached: Option<String>,
}

impl Programs {
    /// The programs for checks of this scope. Adds their layers to the plan.
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
        Err("fetches a repository, which requires git, and the default image does not contain it; add `[layers.base] packages = \
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

/// The layer with the program of an image.
fn layer(base: &Base, reference: String) -> Layer {
    let here = format!("{}/{NAME}", container_folder(LAYER));
    let digest = reference.rsplit('@').next().unwrap_or(&reference);
    Layer {
        name: LAYER.to_owned(),
        kind: LayerKind::Tools,
        on: vec![base.top().to_owned()],
        parts: vec![("image of kustomize".to_owned(), digest.to_owned())],
        build: Build::Script(Box::new(Script {
            // A program for another platform would fail in every build; this reports it once.
            text: format!("{here} version\n"),
            programs: vec![(reference, PLACE.to_owned(), here)],
            ..Script::default()
        })),
    }
}
