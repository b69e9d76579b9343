"""Writing what is stored for other tools: streamed, and whole or not there at all."""

from trajstore.exporting.driver import FORMATS, ExportReport, export
from trajstore.exporting.places import STDOUT

__all__ = ["FORMATS", "STDOUT", "ExportReport", "export"]
