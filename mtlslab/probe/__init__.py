"""The prober: does a deployment behind a proxy say who is really calling, whatever a caller writes?

It sends what `attacks` lists, byte for byte, to a URL whose answer says who is calling, and compares.
"""

from mtlslab.probe.prober import MOST_REQUESTS, Probe, Report, probe

__all__ = ["MOST_REQUESTS", "Probe", "Report", "probe"]
