//! Derives `distributary_config::Section`.

use proc_macro::TokenStream;
use quote::{ToTokens, quote};
use syn::{Attribute, Data, DeriveInput, Error, Field, Fields, parse_macro_input};

/// Implements `Section`: lists the fields of a struct as keys of a configuration section, by the
/// names of the fields.
///
/// * `#[reload]` on a field marks a key that a reload applies; on the struct, all its keys.
/// * `#[section]` on a field marks a table, whose type is itself a section.
#[proc_macro_derive(Section, attributes(reload, section))]
pub fn section(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    keys(&input).unwrap_or_else(|error| error.to_compile_error().into())
}

fn keys(input: &DeriveInput) -> Result<TokenStream, Error> {
    let Data::Struct(data) = &input.data else {
        return Err(Error::new_spanned(input, "a section is a struct"));
    };
    let Fields::Named(fields) = &data.fields else {
        return Err(Error::new_spanned(
            input,
            "the keys of a section have names",
        ));
    };
    let all = has(&input.attrs, "reload");
    let keys = fields.named.iter().map(|field| key(field, all));
    let name = &input.ident;
    Ok(quote! {
        impl ::distributary_config::Section for #name {
            const KEYS: &'static [::distributary_config::Key] = &[#(#keys),*];
        }
    }
    .into())
}

fn key(field: &Field, all: bool) -> impl ToTokens {
    let name = field.ident.as_ref().map(ToString::to_string);
    let kind = &field.ty;
    if has(&field.attrs, "section") {
        return quote! {
            ::distributary_config::Key::table::<#kind>(#name)
        };
    }
    let reloads = all || has(&field.attrs, "reload");
    quote! {
        ::distributary_config::Key::value(#name, #reloads)
    }
}

fn has(attributes: &[Attribute], name: &str) -> bool {
    attributes
        .iter()
        .any(|attribute| attribute.path().is_ident(name))
}
