//! Requests that gRPC itself cannot read (too large, or no message of the kind) never
//! reach the service. Their errors are told like all others, with a reason.

use guildhall::{
    fault::{Fault, FaultReason},
    wire,
};
use http::Response;
use tonic::{Code, Status, body::Body};

/// Gives a reason to an error that gRPC made of a request which it could not read.
/// The service's own errors always carry theirs.
pub(crate) fn explain(mut response: Response<Body>) -> Response<Body> {
    let Some(status) = Status::from_header_map(response.headers()) else { return response };
    let unreadable =
        matches!(status.code(), Code::OutOfRange | Code::Internal) && status.details().is_empty();
    if unreadable {
        let message = format!("the request cannot be read: {}", status.message());
        let status = wire::fault_to_status(Fault::new(FaultReason::InvalidLaunch, message));
        // It fails only for what no header can hold, and then the error at hand stays.
        let _ = status.add_header(response.headers_mut());
    }
    response
}
