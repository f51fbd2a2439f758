"""Attribution methods, one file a method or family; installed as `xaicli.methods`."""
