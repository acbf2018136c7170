//! Methods that a server may act on twice without harm.

use http::Method;

/// The idempotent methods of the IANA registry that [`Method`] may not know.
const IDEMPOTENT: &str = "\
    ACL BASELINE-CONTROL BIND CHECKIN CHECKOUT COPY LABEL LINK MERGE MKACTIVITY MKCALENDAR MKCOL \
    MKREDIRECTREF MKWORKSPACE MOVE ORDERPATCH PRI PROPFIND PROPPATCH QUERY REBIND REPORT SEARCH \
    UNBIND UNCHECKOUT UNLINK UNLOCK UPDATE UPDATEREDIRECTREF VERSION-CONTROL";

/// Returns whether a method is idempotent. Names are case-sensitive.
#[inline]
pub(crate) fn is_idempotent(method: &Method) -> bool {
    method.is_idempotent() || IDEMPOTENT.split(' ').any(|name| name == method.as_str())
}
