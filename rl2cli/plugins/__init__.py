"""Names of plugins that outlive a process: where they are kept, who relies on them, what their options are."""
