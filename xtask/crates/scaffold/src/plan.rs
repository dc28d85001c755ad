//! What is written for a new service: a plain value, complete before anything is touched.

use std::collections::BTreeMap;

use anyhow::Result;
use camino::{Utf8Path, Utf8PathBuf};
use xtask_outcome::Stop;
use xtask_workspace::Project;

use crate::names::Names;
use crate::template::{Edit, NewFile, Template, chosen};

const FOLDER: &str = "templates/new-service";
const FILE: &str = "template.toml";

/// A file, before and after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Relative to the root.
    pub file: Utf8PathBuf,
    /// `None` for a file that is made.
    pub before: Option<String>,
    /// Its whole text.
    pub after: String,
}

/// All files of a new service, in the order in which they are written.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Its folder, relative to the root.
    pub folder: Utf8PathBuf,
    /// Those that are edited, then those that are made; the manifest, which makes it a member, is the last.
    pub changes: Vec<Change>,
}

impl Plan {
    /// Plans a service.
    ///
    /// # Errors
    /// [`Stop::Absent`] where the workspace has no template; [`Stop::Repository`] lists every place of the template that the
    /// workspace has no more, or has already.
    pub fn new(project: &Project, names: &Names, has_database: bool) -> Result<Self> {
        let folder = project.automation.join(FOLDER);
        let text = std::fs::read_to_string(project.root.join(&folder).join(FILE)).map_err(|error| {
            let next = "next: make one, docs/adding-a-service.md says what is in it";
            Stop::Absent(format!("refused: {folder}/{FILE} cannot be read ({error}); {next}"))
        })?;
        let template = Template::parse(folder.join(FILE).as_str(), &text)?;
        let mut planner = Planner {
            root: &project.root,
            templates: project.root.join(&folder),
            names,
            has_database,
            edited: BTreeMap::new(),
            problems: Vec::new(),
        };
        for edit in template.edits.iter().filter(|edit| edit.only.is_for(has_database)) {
            planner.edit(edit);
        }
        let files = template.files.iter().filter(|file| file.only.is_for(has_database));
        let made: Vec<_> = files.filter_map(|file| planner.make(file)).collect();
        if !planner.problems.is_empty() {
            let problems = planner.problems.join("\n  - ");
            let text = format!(
                "nothing was written, since this is not the tree that {folder}/{FILE} was written for, or half of {} is in it \
                 already:\n  - {problems}\nnext: take back what an interrupted attempt left (`git status`), or correct the template",
                names.name
            );
            return Err(Stop::Repository(text).into());
        }
        let edited = planner.edited.into_iter();
        let mut changes: Vec<_> =
            edited.map(|(file, (before, after))| Change { file, before: Some(before), after }).collect();
        changes.extend(made);
        Ok(Self { folder: names.fill(&template.folder).into(), changes })
    }
}

struct Planner<'a> {
    root: &'a Utf8Path,
    templates: Utf8PathBuf,
    names: &'a Names,
    has_database: bool,
    /// Text before and after, by file.
    edited: BTreeMap<Utf8PathBuf, (String, String)>,
    problems: Vec<String>,
}

impl Planner<'_> {
    fn text(&self, text: &str) -> String {
        self.names.fill(&chosen(text, self.has_database))
    }

    fn edit(&mut self, edit: &Edit) {
        let (file, insert) = (Utf8PathBuf::from(self.names.fill(&edit.file)), self.text(&edit.insert));
        if !self.edited.contains_key(&file) {
            match std::fs::read_to_string(self.root.join(&file)) {
                Ok(text) => drop(self.edited.insert(file.clone(), (text.clone(), text))),
                Err(error) => return self.problems.push(format!("{file} cannot be read: {error}")),
            }
        }
        let Some((before, text)) = self.edited.get_mut(&file) else { return };
        if before.contains(insert.trim_matches('\n')) {
            return self.problems.push(format!("{file} has already:\n{}", insert.trim_matches('\n')));
        }
        let (anchor, is_after) = match (&edit.after, &edit.before, edit.at_end) {
            (Some(anchor), None, false) => (anchor, true),
            (None, Some(anchor), false) => (anchor, false),
            (None, None, true) => return *text = format!("{}\n{insert}", text.trim_end_matches('\n')),
            _ => return self.problems.push(format!("{file}: an edit has one of `after`, `before` and `at-end`")),
        };
        match text.match_indices(anchor.as_str()).map(|(at, _)| at).collect::<Vec<_>>()[..] {
            [at] => text.insert_str(if is_after { at + anchor.len() } else { at }, &insert),
            [] => self.problems.push(format!("{file} has nowhere:\n{}", anchor.trim_end())),
            _ => self.problems.push(format!("{file} has more than once:\n{}", anchor.trim_end())),
        }
    }

    fn make(&mut self, new: &NewFile) -> Option<Change> {
        let file = Utf8PathBuf::from(self.names.fill(&new.to));
        if self.root.join(&file).exists() {
            self.problems.push(format!("{file} is there already"));
            return None;
        }
        let source = match (&new.from, &new.model) {
            (Some(from), None) => self.templates.join(from),
            (None, Some(model)) => self.root.join(model),
            _ => {
                self.problems.push(format!("{file}: a file has one of `from` and `model`"));
                return None;
            }
        };
        let text = match std::fs::read_to_string(&source) {
            Ok(text) => text,
            Err(error) => {
                self.problems.push(format!("{source} cannot be read: {error}"));
                return None;
            }
        };
        // A model has no marks of the template; whatever looks like one is its own.
        let after = if new.model.is_some() {
            new.replace.iter().fold(text, |text, (word, value)| text.replace(word, &self.names.fill(value)))
        } else {
            self.text(&text)
        };
        Some(Change { file, before: None, after })
    }
}
