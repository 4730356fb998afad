"""The commands of ``puji``, one file a kind; `puji.cli` puts them together."""
