//! The steps `dns` and `network`: a record that is changed and awaited, and a look at the way to servers.
//!
//! The keys of a step come in; a [`Native`] leaves. What a record becomes may be a template; what kind it is, is not.

use muster_types::config::DnsRecord;

use super::{Fault, Native, keys::Keys};

/// `dns: {name: …, type: A, value: …, key: FILE}` or with `command`.
pub(super) fn dns(keys: &mut Keys<'_, '_>, place: (usize, usize)) -> Native {
    let written = keys.text("type").unwrap_or_else(|| "A".into());
    let record = match written.to_uppercase().as_str() {
        "A" => DnsRecord::A,
        "AAAA" => DnsRecord::Aaaa,
        "CNAME" => DnsRecord::Cname,
        "MX" => DnsRecord::Mx,
        "TXT" => DnsRecord::Txt,
        _ => {
            let message = format!("`type` is no record that can be changed: `{written}`");
            keys.faults.push(Fault::new(place, &written, message, "write A, AAAA, CNAME, MX or TXT"));
            DnsRecord::A
        }
    };
    let native = Native::Dns {
        name: keys.needed("name"),
        record,
        values: keys.names("value"),
        ttl: keys.span("ttl"),
        servers: keys.names("servers"),
        server: keys.text("server"),
        zone: keys.text("zone"),
        key: keys.text("key"),
        command: keys.text("command"),
        within: keys.span("within"),
        is_back: false,
    };
    if let Native::Dns { values, key, command, .. } = &native {
        if values.is_empty() {
            let hint = "add `value: 198.51.100.7`, or a list of values";
            keys.faults.push(Fault::new(
                place,
                "",
                "a `dns` step does not say what the record becomes",
                hint,
            ));
        }
        if key.is_some() == command.is_some() {
            let hint = "give `key: FILE` for an update by RFC 2136, or `command: …` of the provider";
            keys.faults.push(Fault::new(place, "", "a `dns` step needs one way to change the record", hint));
        }
    }
    native
}

/// `network: [api.example.com:443]`, or `network: {targets: […], inside: api}`.
pub(super) fn network(keys: &mut Keys<'_, '_>) -> Native {
    Native::Network {
        targets: keys.names("targets"),
        inside: keys.text("inside"),
        within: keys.span("within"),
    }
}
