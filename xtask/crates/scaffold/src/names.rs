//! A service's name, in every form in which it is written down.

use xtask_outcome::Stop;
use xtask_workspace::Project;

const LONGEST: usize = 30;
/// Names that cargo, Rust or Compose take for something else.
const TAKEN: [&str; 30] = [
    "as", "async", "await", "box", "break", "const", "core", "crate", "default", "dyn", "else", "enum", "extern",
    "false", "fn", "for", "if", "impl", "in", "let", "loop", "main", "match", "mod", "self", "std", "super", "test",
    "true", "type",
];

/// The forms of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    /// `cart-items`.
    pub name: String,
    /// `shop-cart-items`: package, program and image.
    pub package: String,
    /// What its manifest says of it.
    pub description: String,
}

impl Names {
    /// A name that no package, neighbour or network of the workspace has.
    ///
    /// # Errors
    /// [`Stop::Usage`] when it is not such a name.
    pub fn new(project: &Project, name: &str) -> Result<Self, Stop> {
        let name = project.stack.short_name(name);
        let refused = |why: &str| Err(Stop::Usage(format!("`{name}` cannot be a service's name: {why}")));
        let letters = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if !name.starts_with(|c: char| c.is_ascii_lowercase()) || !name.chars().all(letters) {
            return refused("it has to be lower-case letters, digits and hyphens, a letter first");
        }
        if name.ends_with('-') || name.contains("--") || name.len() < 2 || name.len() > LONGEST {
            return refused("it has to have 2 to 30 characters, and a word on each side of a hyphen");
        }
        if TAKEN.contains(&name) || name.ends_with("-db") || name.ends_with("-data") {
            return refused("Rust, cargo or the names of databases and volumes have another use for it");
        }
        let package = format!("{}{name}", project.stack.image_prefix);
        let known = project.members.values().any(|member| member.package == package);
        if known
            || project.stack.neighbour_of(name).is_some()
            || project.images.iter().any(|image| image.name() == name)
        {
            return refused("the workspace has one of that name; next: take another, or edit that one");
        }
        let description = format!("The {} service", name.replace('-', " "));
        Ok(Self { name: name.to_owned(), package, description })
    }

    /// A template's text for this service.
    pub(crate) fn fill(&self, text: &str) -> String {
        let underscored = |text: &str| text.replace('-', "_");
        let ident = underscored(&self.name);
        let camel: String = self.name.split('-').map(capital).collect();
        let plural = |text: &str| if text.ends_with('s') { text.to_owned() } else { format!("{text}s") };
        let (path, table) = (plural(&self.name), plural(&ident));
        let (upper, package) = (ident.to_uppercase(), self.package.as_str());
        let (crate_name, upper_package) = (underscored(package), underscored(package).to_uppercase());
        let words = [
            ("__description__", self.description.as_str()),
            ("__package__", package),
            ("__PACKAGE__", &upper_package),
            ("__crate__", &crate_name),
            ("__ident__", &ident),
            ("__table__", &table),
            ("__path__", &path),
            ("__name__", &self.name),
            ("__NAME__", &upper),
            ("__Name__", &camel),
        ];
        words.into_iter().fold(text.to_owned(), |text, (word, value)| text.replace(word, value))
    }
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_a_name_is_filled_in() {
        let project = Project::load(env!("CARGO_MANIFEST_DIR")).unwrap();
        let names = Names::new(&project, "cart-items").unwrap();
        let text = "__name__ __ident__ __NAME__ __Name__ __path__ __table__ __PACKAGE___X 0001___path__";
        let filled = names.fill(text);
        let prefix = project.stack.image_prefix.to_uppercase().replace('-', "_");
        assert_eq!(
            filled,
            format!(
                "cart-items cart_items CART_ITEMS CartItems cart-items cart_items {prefix}CART_ITEMS_X 0001_cart-items"
            )
        );
    }

    #[test]
    fn names_that_are_taken_or_odd_are_usage_errors() {
        let project = Project::load(env!("CARGO_MANIFEST_DIR")).unwrap();
        let taken = project.images[0].name().to_owned();
        for name in [
            "Cart",
            "cart_items",
            "1cart",
            "-cart",
            "cart-",
            "a--b",
            "c",
            "match",
            "cart-db",
            "../cart",
            "",
            "kit",
            &taken,
        ] {
            assert!(matches!(Names::new(&project, name), Err(Stop::Usage(_))), "{name}");
        }
        assert_eq!(Names::new(&project, "cart").unwrap().description, "The cart service");
    }
}
