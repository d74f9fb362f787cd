"""Groups of workers, and the routes by which their compressed vectors become one mean."""

from thinwire.comm.base import Group, PeerError
from thinwire.comm.local import LocalGroup
from thinwire.comm.process import ProcessGroup

__all__ = ["Group", "LocalGroup", "PeerError", "ProcessGroup"]
