//! Where kustomize, and the git it fetches with, come from: the host's PATH; in containers an image of kustomize, the
//! system packages, or the image that the user chose.

use std::io::Read;

use crate::path::RelPath;
use crate::plan::{Build, Images, Layer, LayerKind, Plan, Script, Tool, container_folder};
use crate::provision::base::{Base, Wanted, base, is_chosen};
use crate::scope::Scope;
use crate::tool::Program;

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
    /// kustomize itself, or why there is none.
    pub(super) kustomize: Result<Tool, String>,
    /// git, or why there is none.
    pub(super) git: Result<Tool, String>,
    /// The layers they stand on.
    pub(super) layers: Vec<String>,
    /// Why it cannot be told which kustomize will run, if so.
    pub(super) indirect: Option<String>,
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
    let program = scope.tools.find(NAME);
    let git = scope.tools.find("git");
    let absent = Tool::Absent {
        name: "git".to_owned(),
    };
    Programs {
        kustomize: program.as_ref().map(host).ok_or_else(|| {
            "is not on PATH; install it (`go install sigs.k8s.io/kustomize/kustomize/v5@latest`) or use \
             `--engine dagger`"
                .to_owned()
        }),
        git: Ok(git.as_ref().map_or(absent, host)),
        layers: vec!["base".to_owned()],
        indirect: program.as_ref().and_then(indirect),
    }
}

fn host(program: &Program) -> Tool {
    Tool::Host {
        name: program.name.clone(),
        path: program.real.clone(),
        identity: program.digest,
        version: None,
    }
}

fn in_containers(scope: &Scope<'_>, images: &dyn Images, plan: &mut Plan) -> Programs {
    let of_image = |name: &str| Tool::Image {
        name: name.to_owned(),
    };
    let git = if is_chosen(images) {
        Ok(of_image("git"))
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
                indirect: None,
            };
        }
    };
    let image = images.tool(NAME).unwrap_or(IMAGE);
    let (kustomize, layers) = if image == OF_BASE || images.packages().iter().any(|p| p == NAME) {
        (Ok(of_image(NAME)), base.layers)
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
                (Ok(tool), layers)
            }
            Err(why) => (Err(format!("cannot run: {why}")), base.layers),
        }
    };
    Programs {
        kustomize,
        git,
        layers,
        indirect: None,
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

/// A launcher of a version manager, or a script: which kustomize it will run is not known from its content.
pub(super) fn indirect(program: &Program) -> Option<String> {
    const MANAGERS: [&str; 5] = ["mise", "snap", "aqua-proxy", "volta-shim", "hermit"];
    let name = program.real.file_name()?.to_str()?;
    let mut head = [0; 2];
    let is_script = std::fs::File::open(&program.real)
        .and_then(|mut file| file.read_exact(&mut head))
        .is_ok()
        && head == *b"#!";
    (is_script || MANAGERS.contains(&name)).then(|| {
        format!(
            "`{}` only starts the real kustomize, which one is not known; put that on PATH",
            program.path.display()
        )
    })
}
