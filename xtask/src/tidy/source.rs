//! Rust source as a syntax tree: the files of a crate, the paths that each file names, the types that it declares.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use proc_macro2::{TokenStream, TokenTree};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

use super::files;
use crate::{Failure, workspace};

/// One source file of a crate, tests excluded.
pub(super) struct Source {
    /// Crate and path, as a person opens it: `nat-summary/src/evidence/list.rs`.
    pub(super) place: String,
    /// Its module from the root of its program or library, with `/` between the names: `evidence/list`.
    /// The library's root is `lib`, a program's `bin/NAME`.
    pub(super) module: String,
    /// The root that `crate` means in this file.
    pub(super) root: String,
    pub(super) syntax: syn::File,
}

/// Every source file of a crate, without the modules that are compiled for tests only.
pub(super) fn sources(of: &workspace::Crate) -> Result<Vec<Source>, Failure> {
    let folder = of.folder().join("src");
    let mut sources = Vec::new();
    for file in files(&folder, ".rs") {
        let path = file.strip_prefix(&folder).unwrap_or(&file);
        let (root, module) = module_of(path);
        if module.split('/').any(|name| name == "tests") {
            continue;
        }
        let place = format!("{}/src/{}", of.name, path.display());
        let text = std::fs::read_to_string(&file)?;
        let syntax = syn::parse_file(&text).map_err(|error| format!("{place}: {error}"))?;
        sources.push(Source {
            place,
            module,
            root,
            syntax,
        });
    }
    Ok(sources)
}

/// The root of the program or library that a file belongs to, and its module.
fn module_of(path: &Path) -> (String, String) {
    let text = path.with_extension("").to_string_lossy().replace('\\', "/");
    let text = text.strip_suffix("/mod").unwrap_or(&text).to_owned();
    let Some(program) = text.strip_prefix("bin/") else {
        let root = if text == "main" { "main" } else { "lib" };
        return (root.to_owned(), text);
    };
    match program.split_once('/') {
        None => (text.clone(), text),
        Some((name, "main")) => (format!("bin/{name}"), format!("bin/{name}")),
        Some((name, _)) => (format!("bin/{name}"), text),
    }
}

/// A path of two or more names that a file uses, and its line.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Named {
    pub(super) line: usize,
    /// The modules within the file, from its top, that the path stands in.
    pub(super) inside: Vec<String>,
    pub(super) path: Vec<String>,
    /// The path is only given another place, by a `pub use` whose name the file itself does not use.
    pub(super) is_passed_on: bool,
}

/// Every path of two or more names in a file, tests excluded: imports, expressions, types, and
/// tokens in the form of a path within the arguments of a macro.
pub(super) fn paths(file: &syn::File) -> Vec<Named> {
    let mut paths = Paths::default();
    paths.visit_file(file);
    let Paths {
        mut found, used, ..
    } = paths;
    for named in &mut found {
        named.is_passed_on &= named.path.last().is_some_and(|name| !used.contains(name));
    }
    found
}

#[derive(Default)]
struct Paths {
    inside: Vec<String>,
    /// Within a `pub use`.
    is_public: bool,
    found: Vec<Named>,
    /// Every name outside of imports.
    used: BTreeSet<String>,
}

impl Paths {
    fn add(&mut self, line: usize, path: Vec<String>) {
        if path.len() > 1 {
            self.found.push(Named {
                line,
                inside: self.inside.clone(),
                path,
                is_passed_on: self.is_public,
            });
        }
    }

    fn import(&mut self, tree: &syn::UseTree, before: &[String]) {
        let with = |name: &syn::Ident| {
            let mut path = before.to_vec();
            path.push(name.to_string());
            path
        };
        match tree {
            syn::UseTree::Path(path) => self.import(&path.tree, &with(&path.ident)),
            syn::UseTree::Name(name) if name.ident == "self" => {
                self.add(name.ident.span().start().line, before.to_vec());
            }
            syn::UseTree::Name(name) => self.add(name.ident.span().start().line, with(&name.ident)),
            syn::UseTree::Rename(name) => {
                self.add(name.ident.span().start().line, with(&name.ident));
            }
            syn::UseTree::Glob(glob) => {
                let mut path = before.to_vec();
                path.push("*".to_owned());
                self.add(glob.span().start().line, path);
            }
            syn::UseTree::Group(group) => {
                group
                    .items
                    .iter()
                    .for_each(|item| self.import(item, before));
            }
        }
    }

    /// Macros are not expanded, so their arguments are read as names with `::` between them.
    fn tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let (mut line, mut colons) = (0, 0);
        for token in tokens {
            match token {
                TokenTree::Ident(name) => {
                    if colons != 2 {
                        self.add(line, std::mem::take(&mut path));
                        line = name.span().start().line;
                    }
                    path.push(name.to_string());
                    self.used.insert(name.to_string());
                    colons = 0;
                }
                TokenTree::Punct(mark) if mark.as_char() == ':' && colons < 2 => colons += 1,
                TokenTree::Group(group) => {
                    self.add(line, std::mem::take(&mut path));
                    colons = 0;
                    self.tokens(group.stream());
                }
                _ => {
                    self.add(line, std::mem::take(&mut path));
                    colons = 0;
                }
            }
        }
        self.add(line, path);
    }
}

impl<'ast> Visit<'ast> for Paths {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        if !attributes(item).iter().any(is_for_tests) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        self.inside.push(module.ident.to_string());
        visit::visit_item_mod(self, module);
        self.inside.pop();
    }

    fn visit_item_use(&mut self, import: &'ast syn::ItemUse) {
        self.is_public = !matches!(import.vis, syn::Visibility::Inherited);
        self.import(&import.tree, &[]);
        self.is_public = false;
    }

    fn visit_ident(&mut self, name: &'ast syn::Ident) {
        self.used.insert(name.to_string());
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names = path
            .segments
            .iter()
            .map(|segment| segment.ident.to_string())
            .collect();
        self.add(path.span().start().line, names);
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        self.visit_path(&call.path);
        self.tokens(call.tokens.clone());
    }

    // a visibility says who may import the item, and imports nothing
    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {}

    // an attribute names derives and lints, not modules
    fn visit_attribute(&mut self, _: &'ast syn::Attribute) {}
}

/// A type that a crate declares.
pub(super) struct Type {
    /// File and line.
    pub(super) place: String,
    pub(super) name: String,
    pub(super) docs: String,
    pub(super) is_public: bool,
    pub(super) is_trait: bool,
    /// The variants of an enum with their documentation; nothing for any other type.
    pub(super) variants: Option<Vec<Variant>>,
    /// Every name in the types of its fields.
    pub(super) holds: Vec<String>,
}

/// A variant of an enum.
pub(super) struct Variant {
    pub(super) name: String,
    pub(super) docs: String,
    pub(super) is_unit: bool,
}

/// The types that the files declare at any depth, tests excluded, and the names of those that
/// implement `Error`.
pub(super) fn types(sources: &[Source]) -> (Vec<Type>, BTreeMap<String, usize>) {
    let (mut types, mut errors) = (Vec::new(), BTreeMap::new());
    for source in sources {
        let mut found = Types {
            place: &source.place,
            makers: Vec::new(),
            types: &mut types,
            errors: &mut errors,
        };
        found.visit_file(&source.syntax);
    }
    (types, errors)
}

struct Types<'a> {
    place: &'a str,
    /// Macros of this file that implement `Error` for the types in their arguments.
    makers: Vec<syn::Ident>,
    types: &'a mut Vec<Type>,
    /// Each with the line of its implementation.
    errors: &'a mut BTreeMap<String, usize>,
}

impl Types<'_> {
    fn add<'f>(
        &mut self,
        name: &syn::Ident,
        (attributes, visibility): (&[syn::Attribute], &syn::Visibility),
        variants: Option<Vec<Variant>>,
        fields: impl Iterator<Item = &'f syn::Field>,
    ) {
        self.types.push(Type {
            place: format!("{}:{}", self.place, name.span().start().line),
            name: name.to_string(),
            docs: docs(attributes),
            is_public: matches!(visibility, syn::Visibility::Public(_)),
            is_trait: false,
            variants,
            holds: fields.flat_map(|field| names(&field.ty)).collect(),
        });
    }
}

impl<'ast> Visit<'ast> for Types<'_> {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        if !attributes(item).iter().any(is_for_tests) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_struct(&mut self, item: &'ast syn::ItemStruct) {
        self.add(
            &item.ident,
            (&item.attrs, &item.vis),
            None,
            item.fields.iter(),
        );
    }

    fn visit_item_enum(&mut self, item: &'ast syn::ItemEnum) {
        let variant = |variant: &syn::Variant| Variant {
            name: variant.ident.to_string(),
            docs: docs(&variant.attrs),
            is_unit: variant.fields.is_empty(),
        };
        let variants = item.variants.iter().map(variant).collect();
        let fields = item
            .variants
            .iter()
            .flat_map(|variant| variant.fields.iter());
        self.add(
            &item.ident,
            (&item.attrs, &item.vis),
            Some(variants),
            fields,
        );
    }

    fn visit_item_trait(&mut self, item: &'ast syn::ItemTrait) {
        self.add(
            &item.ident,
            (&item.attrs, &item.vis),
            None,
            std::iter::empty(),
        );
        if let Some(added) = self.types.last_mut() {
            added.is_trait = true;
        }
    }

    fn visit_item_macro(&mut self, item: &'ast syn::ItemMacro) {
        if let Some(name) = &item.ident {
            if item.mac.tokens.to_string().contains("Error for $") {
                self.makers.push(name.clone());
            }
        } else if item
            .mac
            .path
            .get_ident()
            .is_some_and(|name| self.makers.contains(name))
        {
            for token in item.mac.tokens.clone() {
                if let TokenTree::Ident(name) = token {
                    self.errors
                        .insert(name.to_string(), name.span().start().line);
                }
            }
        }
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        let of = item
            .trait_
            .as_ref()
            .and_then(|(path, _)| path.segments.last());
        if of.is_some_and(|of| of.ident == "Error") {
            let line = item.span().start().line;
            self.errors.extend(
                names(&item.self_ty)
                    .into_iter()
                    .next()
                    .map(|name| (name, line)),
            );
        }
        visit::visit_item_impl(self, item);
    }
}

/// Every name in a type, its parameters included.
fn names(of: &syn::Type) -> Vec<String> {
    struct Names(Vec<String>);
    impl<'ast> Visit<'ast> for Names {
        fn visit_ident(&mut self, name: &'ast syn::Ident) {
            self.0.push(name.to_string());
        }
    }
    let mut names = Names(Vec::new());
    names.visit_type(of);
    names.0
}

/// The text of a doc comment, a line each.
fn docs(attributes: &[syn::Attribute]) -> String {
    let line = |attribute: &syn::Attribute| {
        let syn::Meta::NameValue(pair) = &attribute.meta else {
            return None;
        };
        let syn::Expr::Lit(literal) = &pair.value else {
            return None;
        };
        let syn::Lit::Str(text) = &literal.lit else {
            return None;
        };
        attribute.path().is_ident("doc").then(|| text.value())
    };
    attributes
        .iter()
        .filter_map(line)
        .collect::<Vec<_>>()
        .join("\n")
}

fn attributes(item: &syn::Item) -> &[syn::Attribute] {
    match item {
        syn::Item::Const(item) => &item.attrs,
        syn::Item::Enum(item) => &item.attrs,
        syn::Item::Fn(item) => &item.attrs,
        syn::Item::Impl(item) => &item.attrs,
        syn::Item::Macro(item) => &item.attrs,
        syn::Item::Mod(item) => &item.attrs,
        syn::Item::Static(item) => &item.attrs,
        syn::Item::Struct(item) => &item.attrs,
        syn::Item::Trait(item) => &item.attrs,
        syn::Item::Type(item) => &item.attrs,
        syn::Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// `#[test]`, `#[cfg(test)]`, or `cfg(all(test, …))`. Of `any(test, …)` the rest counts.
fn is_for_tests(attribute: &syn::Attribute) -> bool {
    if attribute.path().is_ident("test") {
        return true;
    }
    let syn::Meta::List(list) = &attribute.meta else {
        return false;
    };
    let condition = list.tokens.to_string();
    let condition = condition.split_whitespace().collect::<String>();
    attribute.path().is_ident("cfg")
        && ["test", "doctest"].iter().any(|test| {
            condition == *test
                || condition.strip_prefix("all(").is_some_and(|all| {
                    all.trim_end_matches(')')
                        .split(',')
                        .any(|part| part == *test)
                })
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths_of(text: &str) -> Vec<String> {
        let file = syn::parse_file(text).unwrap();
        paths(&file)
            .into_iter()
            .map(|named| named.path.join("::"))
            .collect()
    }

    #[test]
    fn imports_expressions_types_and_arguments_of_macros_are_paths() {
        let text = "use a::{b, c::{self, D}, e::*};\nfn f(x: g::H) { select! { y = i::j(k) => l::m }; n::o() }";
        let expected = [
            "a::b", "a::c", "a::c::D", "a::e::*", "g::H", "i::j", "l::m", "n::o",
        ];
        assert_eq!(paths_of(text), expected);
    }

    #[test]
    fn what_is_compiled_for_tests_alone_does_not_count() {
        let text = "#[cfg(test)] mod tests { use a::b; }\n#[cfg(all(test, unix))] use c::d;\n#[test] fn f() { e::g() }\n#[cfg(any(test, unix))] use h::i;";
        assert_eq!(paths_of(text), ["h::i"]);
    }

    #[test]
    fn errors_are_found_by_the_trait_also_where_a_macro_implements_it() {
        let text = "impl core::error::Error for Reject {}\nimpl fmt::Display for Other {}\n\
                    macro_rules! m { ($($e:ty { $($t:tt)* })+) => { $(impl Error for $e {})+ } }\n\
                    m! { Illegal { Self::A => \"a\" } Undelivered {} }";
        let source = Source {
            place: "x.rs".to_owned(),
            module: "x".to_owned(),
            root: "lib".to_owned(),
            syntax: syn::parse_file(text).unwrap(),
        };
        let (_, errors) = types(&[source]);
        assert_eq!(
            errors.into_keys().collect::<Vec<_>>(),
            ["Illegal", "Reject", "Undelivered"]
        );
    }

    #[test]
    fn a_module_is_named_from_the_root_of_its_program() {
        let of = |path: &str| module_of(Path::new(path));
        let pair = |root: &str, module: &str| (root.to_owned(), module.to_owned());
        assert_eq!(of("evidence/list.rs"), pair("lib", "evidence/list"));
        assert_eq!(of("signalling/mod.rs"), pair("lib", "signalling"));
        assert_eq!(
            of("bin/consumer/main.rs"),
            pair("bin/consumer", "bin/consumer")
        );
        assert_eq!(
            of("bin/consumer/roles.rs"),
            pair("bin/consumer", "bin/consumer/roles")
        );
        assert_eq!(of("bin/one.rs"), pair("bin/one", "bin/one"));
    }
}
