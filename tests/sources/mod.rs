//! The sources of a crate as the rules of the house see them: what is test code, and which file
//! imports which. It judges nothing; `tests/tidy.rs` does.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::slice;

use proc_macro2::{Ident, TokenStream, TokenTree};
use quote::ToTokens;
use syn::punctuated::Punctuated;
use syn::visit_mut::{self, VisitMut};
use syn::{Item, ItemUse, UseTree, Visibility};

/// One file, without what is compiled for tests or for fuzzing only.
#[derive(Debug, Default)]
pub(crate) struct Source {
    /// The files whose items it names, each with one of these names. A re-export names nothing:
    /// whoever uses it does.
    pub(crate) imports: BTreeMap<String, String>,
    /// What it names of other crates, in full: `std::thread::spawn`.
    pub(crate) foreign: BTreeSet<String>,
    /// The macros that it calls.
    pub(crate) macros: BTreeSet<String>,
    pub(crate) is_unsafe: bool,
    /// Its public types, which users of the crate can name: a lint sees to that.
    pub(crate) types: BTreeSet<String>,
}

/// The files of a crate by their path below the folder of its sources.
pub(crate) type Sources = BTreeMap<String, Source>;

/// Reads the crate that begins with the file `root` in the folder `src`, along its modules.
pub(crate) fn read(src: &Path, root: &str) -> Sources {
    sources(root, |name| fs::read_to_string(src.join(name)).ok())
}

/// The same for files that `text` gives.
pub(crate) fn sources(root: &str, text: impl Fn(&str) -> Option<String>) -> Sources {
    let mut crate_ = Crate::default();
    let folder = root.rsplit_once('/').map_or("", |(folder, _)| folder);
    let place = Place {
        module: Vec::new(),
        file: root.to_owned(),
        folder: folder.to_owned(),
    };
    crate_.add_file(&place, &text);
    crate_.resolve()
}

type Name = Vec<String>;

/// Where an item stands.
#[derive(Clone)]
struct Place {
    module: Name,
    file: String,
    /// Where the files of its child modules lie.
    folder: String,
}

#[derive(Default)]
struct Module {
    file: String,
    /// What its uses bring in, and from where.
    uses: Vec<(String, Name)>,
    /// Those that it exports again.
    exports: BTreeSet<String>,
    /// Names in its code, from where it stands.
    named: BTreeSet<Name>,
}

/// What has been read.
#[derive(Default)]
struct Crate {
    modules: BTreeMap<Name, Module>,
    sources: Sources,
}

impl Crate {
    fn add_file(&mut self, place: &Place, text: &impl Fn(&str) -> Option<String>) {
        let code = text(&place.file).unwrap_or_else(|| panic!("no file {}", place.file));
        let mut file = syn::parse_file(&code).unwrap_or_else(|e| panic!("{}: {e}", place.file));
        WithoutTests.visit_file_mut(&mut file);
        let tokens = file.items.iter().map(ToTokens::to_token_stream).collect();
        note(&tokens, self.source(place));
        self.add_items(place, file.items, text);
    }

    fn add_items(
        &mut self,
        place: &Place,
        items: Vec<Item>,
        text: &impl Fn(&str) -> Option<String>,
    ) {
        let module = self.modules.entry(place.module.clone()).or_default();
        module.file.clone_from(&place.file);
        for item in items {
            #[expect(
                clippy::wildcard_enum_match_arm,
                reason = "all other items only have names in them"
            )]
            match item {
                Item::Mod(item) => {
                    let name = item.ident.to_string();
                    let module = [&place.module[..], slice::from_ref(&name)].concat();
                    let inner = joined(&place.folder, &name);
                    if let Some((_, items)) = item.content {
                        let place = Place {
                            module,
                            folder: inner,
                            ..place.clone()
                        };
                        self.add_items(&place, items, text);
                    } else {
                        let own = format!("{inner}.rs");
                        let file = if text(&own).is_some() {
                            own
                        } else {
                            joined(&inner, "mod.rs")
                        };
                        let place = Place {
                            module,
                            file,
                            folder: inner,
                        };
                        self.add_file(&place, text);
                    }
                }
                Item::Use(item) => self.add_use(place, &item),
                item => {
                    let of_public_type = match &item {
                        Item::Struct(item) => Some((&item.vis, &item.ident)),
                        Item::Enum(item) => Some((&item.vis, &item.ident)),
                        _ => None,
                    };
                    if let Some((Visibility::Public(_), name)) = of_public_type {
                        self.source(place).types.insert(name.to_string());
                    }
                    let (names, uses) = names(item.to_token_stream());
                    for item in uses {
                        self.add_use(place, &item);
                    }
                    self.module(place).named.extend(names);
                }
            }
        }
    }

    fn add_use(&mut self, place: &Place, item: &ItemUse) {
        let module = self.module(place);
        let mut leaves = Vec::new();
        flatten(&item.tree, &mut Vec::new(), &mut leaves);
        for (name, path) in leaves {
            if matches!(item.vis, Visibility::Inherited) {
                module.named.insert(path.clone());
            } else {
                module.exports.insert(name.clone());
            }
            module.uses.push((name, path));
        }
    }

    fn module(&mut self, place: &Place) -> &mut Module {
        self.modules.get_mut(&place.module).unwrap()
    }

    fn source(&mut self, place: &Place) -> &mut Source {
        self.sources.entry(place.file.clone()).or_default()
    }

    fn resolve(mut self) -> Sources {
        for (name, module) in &self.modules {
            let source = self.sources.get_mut(&module.file).unwrap();
            let exported = module
                .uses
                .iter()
                .filter(|(name, _)| module.exports.contains(name));
            for (_, path) in exported {
                if let Found::Foreign(path) = find(&self.modules, name, path, &mut Vec::new()) {
                    source.foreign.insert(path.join("::"));
                }
            }
            for path in &module.named {
                // A name by itself is that of a variable or of something in scope; and what is in
                // scope was named when it was brought in, unless that was for others.
                if path.len() == 1 && !module.exports.contains(&path[0]) {
                    continue;
                }
                match find(&self.modules, name, path, &mut Vec::new()) {
                    Found::In(file) if file != module.file => {
                        source.imports.entry(file).or_insert(path.join("::"));
                    }
                    // The types of the file itself begin like that too, and with a capital.
                    Found::Foreign(path) if path[0].starts_with(char::is_lowercase) => {
                        source.foreign.insert(path.join("::"));
                    }
                    Found::In(_) | Found::Module | Found::Foreign(_) | Found::Nowhere => {}
                }
            }
        }
        self.sources
    }
}

enum Found {
    /// An item of that file.
    In(String),
    /// A module as such: what is named through it counts.
    Module,
    Foreign(Name),
    /// Named in a circle, as a name that a use brings in from a crate of the same name.
    Nowhere,
}

/// Where that is which the code in the module `from` calls `path`.
fn find(
    modules: &BTreeMap<Name, Module>,
    from: &[String],
    path: &[String],
    on_the_way: &mut Vec<(Name, Name)>,
) -> Found {
    let step = (from.to_vec(), path.to_vec());
    if on_the_way.contains(&step) {
        return Found::Nowhere;
    }
    on_the_way.push(step);
    let mut at = from.to_vec();
    let mut rest = path;
    let mut is_rooted = false;
    while let [first, others @ ..] = rest {
        match first.as_str() {
            "crate" => at.clear(),
            "self" => {}
            "super" => {
                at.pop();
            }
            _ => break,
        }
        is_rooted = true;
        rest = others;
    }
    while let [first, others @ ..] = rest {
        let inner = [&at[..], slice::from_ref(first)].concat();
        if modules.contains_key(&inner) {
            at = inner;
            rest = others;
            is_rooted = true;
            continue;
        }
        let module = &modules[&at];
        if let Some((_, used)) = module.uses.iter().find(|(name, _)| name == first) {
            let whole = [&used[..], others].concat();
            return find(modules, &at, &whole, on_the_way);
        }
        return if is_rooted {
            Found::In(module.file.clone())
        } else {
            Found::Foreign(path.to_vec())
        };
    }
    Found::Module
}

fn joined(folder: &str, name: &str) -> String {
    if folder.is_empty() {
        name.to_owned()
    } else {
        format!("{folder}/{name}")
    }
}

/// The names that a use brings in, each with its path.
fn flatten(tree: &UseTree, before: &mut Name, leaves: &mut Vec<(String, Name)>) {
    let with = |before: &Name, ident: &Ident| [&before[..], &[ident.to_string()]].concat();
    match tree {
        UseTree::Path(path) => {
            before.push(path.ident.to_string());
            flatten(&path.tree, before, leaves);
            before.pop();
        }
        UseTree::Name(name) if name.ident == "self" => {
            leaves.push((before.last().unwrap().clone(), before.clone()));
        }
        UseTree::Name(name) => leaves.push((name.ident.to_string(), with(before, &name.ident))),
        UseTree::Rename(rename) => {
            leaves.push((rename.rename.to_string(), with(before, &rename.ident)));
        }
        // As if it were an item there.
        UseTree::Glob(_) => leaves.push(("*".to_owned(), [before, &["*".to_owned()][..]].concat())),
        UseTree::Group(group) => {
            for tree in &group.items {
                flatten(tree, before, leaves);
            }
        }
    }
}

/// All names in some code, also within macros, and the uses within functions.
fn names(tokens: TokenStream) -> (BTreeSet<Name>, Vec<ItemUse>) {
    let mut names = BTreeSet::new();
    let mut uses = Vec::new();
    let tokens: Vec<_> = tokens.into_iter().collect();
    let mut at = 0;
    while at < tokens.len() {
        match &tokens[at] {
            TokenTree::Ident(ident) if ident == "use" => {
                let end = tokens[at..].iter().position(|token| is(token, ';'));
                let end = end.map_or(tokens.len(), |length| at + length + 1);
                let item = tokens[at..end].iter().cloned().collect();
                uses.extend(syn::parse2::<ItemUse>(item));
                at = end;
            }
            TokenTree::Ident(ident) if begins_a_name(&tokens[..at]) => {
                let mut name = vec![ident.to_string()];
                at += 1;
                while let [first, second, TokenTree::Ident(next), ..] = &tokens[at..] {
                    if !is(first, ':') || !is(second, ':') {
                        break;
                    }
                    name.push(next.to_string());
                    at += 3;
                }
                names.insert(name);
            }
            TokenTree::Group(group) if !ends_in_an_attribute(&tokens[..at]) => {
                let (inner, uses_inside) = self::names(group.stream());
                names.extend(inner);
                uses.extend(uses_inside);
                at += 1;
            }
            TokenTree::Group(_)
            | TokenTree::Ident(_)
            | TokenTree::Punct(_)
            | TokenTree::Literal(_) => {
                at += 1;
            }
        }
    }
    (names, uses)
}

fn is(token: &TokenTree, punct: char) -> bool {
    matches!(token, TokenTree::Punct(found) if found.as_char() == punct)
}

/// Whether what comes next is neither a method or a field, nor the end of a path.
fn begins_a_name(before: &[TokenTree]) -> bool {
    match before {
        [.., first, second] if is(first, ':') && is(second, ':') => false,
        // Not the end of a range.
        [.., first, second] if is(second, '.') => is(first, '.'),
        [only] => !is(only, '.'),
        _ => true,
    }
}

/// Whether what comes next is the group of `#[…]` or `#![…]`.
fn ends_in_an_attribute(before: &[TokenTree]) -> bool {
    match before {
        [.., first, second] if is(second, '!') => is(first, '#'),
        [.., last] => is(last, '#'),
        [] => false,
    }
}

/// Notes what else the rules ask of a file.
fn note(tokens: &TokenStream, source: &mut Source) {
    let tokens: Vec<_> = tokens.clone().into_iter().collect();
    for (at, token) in tokens.iter().enumerate() {
        match token {
            TokenTree::Ident(ident) if ident == "unsafe" => source.is_unsafe = true,
            TokenTree::Ident(ident) if tokens.get(at + 1).is_some_and(|next| is(next, '!')) => {
                source.macros.insert(ident.to_string());
            }
            TokenTree::Group(group) => note(&group.stream(), source),
            TokenTree::Ident(_) | TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
    }
}

/// Takes out what is compiled for tests only, wherever it stands.
struct WithoutTests;

impl VisitMut for WithoutTests {
    fn visit_file_mut(&mut self, file: &mut syn::File) {
        file.items.retain(is_kept);
        visit_mut::visit_file_mut(self, file);
    }

    fn visit_item_mod_mut(&mut self, item: &mut syn::ItemMod) {
        if let Some((_, items)) = &mut item.content {
            items.retain(is_kept);
        }
        visit_mut::visit_item_mod_mut(self, item);
    }

    fn visit_item_impl_mut(&mut self, item: &mut syn::ItemImpl) {
        item.items.retain(is_kept);
        visit_mut::visit_item_impl_mut(self, item);
    }

    fn visit_item_trait_mut(&mut self, item: &mut syn::ItemTrait) {
        item.items.retain(is_kept);
        visit_mut::visit_item_trait_mut(self, item);
    }

    fn visit_item_enum_mut(&mut self, item: &mut syn::ItemEnum) {
        retain(&mut item.variants);
        visit_mut::visit_item_enum_mut(self, item);
    }

    fn visit_fields_named_mut(&mut self, fields: &mut syn::FieldsNamed) {
        retain(&mut fields.named);
        visit_mut::visit_fields_named_mut(self, fields);
    }

    fn visit_signature_mut(&mut self, signature: &mut syn::Signature) {
        retain(&mut signature.inputs);
        visit_mut::visit_signature_mut(self, signature);
    }

    fn visit_block_mut(&mut self, block: &mut syn::Block) {
        block.stmts.retain(is_kept);
        visit_mut::visit_block_mut(self, block);
    }

    fn visit_expr_match_mut(&mut self, expr: &mut syn::ExprMatch) {
        expr.arms.retain(is_kept);
        visit_mut::visit_expr_match_mut(self, expr);
    }

    fn visit_expr_struct_mut(&mut self, expr: &mut syn::ExprStruct) {
        retain(&mut expr.fields);
        visit_mut::visit_expr_struct_mut(self, expr);
    }
}

fn retain<T: ToTokens + Clone, P: Default + Clone>(list: &mut Punctuated<T, P>) {
    *list = list.iter().filter(|item| is_kept(*item)).cloned().collect();
}

/// Whether it is compiled without tests, by the attributes that it begins with.
fn is_kept(item: &impl ToTokens) -> bool {
    let tokens: Vec<_> = item.to_token_stream().into_iter().collect();
    let attributes = tokens.chunks(2).map_while(|pair| match pair {
        [hash, TokenTree::Group(attribute)] if is(hash, '#') => Some(attribute.stream()),
        _ => None,
    });
    !attributes.into_iter().any(is_for_tests)
}

/// Whether an attribute is `test`, or a `cfg` that asks for tests or fuzzing.
fn is_for_tests(attribute: TokenStream) -> bool {
    let tokens: Vec<_> = attribute.into_iter().collect();
    match &tokens[..] {
        [TokenTree::Ident(name)] => name == "test",
        [TokenTree::Ident(name), TokenTree::Group(condition)] => {
            name == "cfg" && asks_for_tests(condition.stream())
        }
        _ => false,
    }
}

fn asks_for_tests(condition: TokenStream) -> bool {
    let tokens: Vec<_> = condition.into_iter().collect();
    tokens.iter().enumerate().any(|(at, token)| match token {
        TokenTree::Ident(name) => ["test", "fuzzing", "doctest"]
            .iter()
            .any(|word| name == word),
        TokenTree::Group(group) => {
            let is_denied =
                at > 0 && matches!(&tokens[at - 1], TokenTree::Ident(not) if not == "not");
            !is_denied && asks_for_tests(group.stream())
        }
        TokenTree::Punct(_) | TokenTree::Literal(_) => false,
    })
}
