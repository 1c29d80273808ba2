//! Which SASL mechanism to use (`pg_SASL_init` of libpq).

use postgres_protocol::authentication::sasl;

use super::{AuthError, ServerEndPoint};
use crate::conninfo::ChannelBinding;

/// More than any server offers; bounds the walk over a hostile list.
const OFFER_LIMIT: usize = 32;

/// The mechanism chosen and the binding that goes with it.
pub(super) struct Choice {
    pub(super) name: &'static str,
    pub(super) binding: sasl::ChannelBinding,
    pub(super) bound: bool,
}

/// Chooses from the null-terminated names of an `AuthenticationSASL` body.
pub(super) fn choose(
    offered: &[u8],
    wanted: ChannelBinding,
    end_point: &ServerEndPoint,
) -> Result<Choice, AuthError> {
    let mut names = offered.split(|byte| *byte == 0).take(OFFER_LIMIT).take_while(|name| !name.is_empty());
    let (mut plain, mut plus) = (false, false);
    for name in &mut names {
        plain |= name == sasl::SCRAM_SHA_256.as_bytes();
        plus |= name == sasl::SCRAM_SHA_256_PLUS.as_bytes();
    }
    if plus && matches!(end_point, ServerEndPoint::NoTls) {
        return Err(AuthError::PlusWithoutTls);
    }
    match end_point {
        ServerEndPoint::Hash(hash) if plus && wanted != ChannelBinding::Disable => {
            return Ok(Choice {
                name: sasl::SCRAM_SHA_256_PLUS,
                binding: sasl::ChannelBinding::tls_server_end_point(hash.clone()),
                bound: true,
            });
        }
        _ => {}
    }
    if wanted == ChannelBinding::Require {
        let problem = match end_point {
            ServerEndPoint::NoTls => "the connection does not use TLS",
            ServerEndPoint::Unavailable => "the signature algorithm of the server's certificate defines none",
            ServerEndPoint::Hash(_) => {
                "server did not offer an authentication method that supports channel binding"
            }
        };
        return Err(AuthError::ChannelBinding { problem });
    }
    if !plain {
        return Err(AuthError::NoMechanism);
    }
    let binding = match end_point {
        ServerEndPoint::NoTls => sasl::ChannelBinding::unsupported(),
        _ if wanted == ChannelBinding::Disable => sasl::ChannelBinding::unsupported(),
        // It was offered and cannot be had with this certificate; libpq gives up here unless told `disable`.
        ServerEndPoint::Unavailable if plus => sasl::ChannelBinding::unsupported(),
        // "We could have, you did not offer": a server that did offer will notice that someone removed it. Said of any
        // certificate, as in libpq: whoever removed the offer also chose the certificate.
        _ => sasl::ChannelBinding::unrequested(),
    };
    Ok(Choice { name: sasl::SCRAM_SHA_256, binding, bound: false })
}
