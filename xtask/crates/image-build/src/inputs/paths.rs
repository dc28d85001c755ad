//! Whose changes are changes of an image's revision: git's words for the files that it is compiled from, deleted ones included.

use camino::{Utf8Path, Utf8PathBuf};
use xtask_workspace::{ImagePackage, Project};

use super::{OTHER_TARGETS, ROOT_FILES, normal};

/// Files and folders, relative to the root: the folders of the members without their other targets.
#[derive(Debug)]
pub(super) struct Paths {
    included: Vec<Utf8PathBuf>,
    excluded: Vec<Utf8PathBuf>,
}

impl Paths {
    pub(super) fn of(project: &Project, image: &ImagePackage) -> Self {
        let mut included: Vec<_> = ROOT_FILES.iter().map(Utf8PathBuf::from).collect();
        let mut excluded = Vec::new();
        included.push(project.automation.join("docker"));
        included.extend(project.members.keys().map(|folder| folder.join("Cargo.toml")));
        for folder in &image.compiled_folders {
            included.push(folder.clone());
            excluded.extend(OTHER_TARGETS.iter().map(|other| folder.join(other)));
            // A member below another one is its own.
            let below = project.members.keys().filter(|other| *other != folder && other.starts_with(folder));
            let below = below.filter(|other| !image.compiled_folders.contains(*other));
            excluded.extend(below.map(|other| other.join("src")));
        }
        included.extend(image.more_inputs.iter().map(|input| normal(&image.folder.join(input))));
        Self { included, excluded }
    }

    /// As git takes them.
    pub(super) fn pathspecs(&self) -> Vec<String> {
        let included = self.included.iter().map(ToString::to_string);
        included.chain(self.excluded.iter().map(|path| format!(":(exclude){path}"))).collect()
    }

    /// Whether git would show a change of this file when it is given the pathspecs.
    pub(super) fn cover(&self, file: &Utf8Path) -> bool {
        let lies_in = |paths: &[Utf8PathBuf]| paths.iter().any(|path| file.starts_with(path));
        lies_in(&self.included) && !lies_in(&self.excluded)
    }
}
