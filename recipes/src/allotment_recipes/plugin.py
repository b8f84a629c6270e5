# SPDX-License-Identifier: Apache-2.0
"""What the recipes contribute: recipes, source providers, ``allot build``."""

from allotment.hookspecs import BinaryCache, Command, RecipeType, SourceProvider, hookimpl

RECIPES = {
    "backup.export": "backup_export",
    "backup.import": "backup_import",
    "backup.pull": "backup_pull",
    "backup.push": "backup_push",
    "backup.queue": "backup_queue",
    "backup.role": "backup_role",
    "backup.ssh-keys": "backup_ssh_keys",
    "backup.takeover": "backup_takeover",
    "backup.tree": "backup_tree",
    "ca.certificate": "ca_certificate",
    "cmake": "cmake",
    "cmmi": "cmmi",
    "command": "command",
    "copyfiles": "copyfiles",
    "cron": "cron",
    "cron.entry": "cron_entry",
    "download": "download",
    "download-unpacked": "download_unpacked",
    "editable": "editable",
    "editable.read": "editable_read",
    "free-port": "free_port",
    "gitclone": "gitclone",
    "go": "go",
    "logrotate": "logrotate",
    "logrotate.entry": "logrotate_entry",
    "make": "make",
    "mariadb.update": "mariadb_update",
    "meson": "meson",
    "mkdirectory": "mkdirectory",
    "npm": "npm",
    "password": "password",
    "postgres": "postgres",
    "promise": "promise",
    "publish": "publish",
    "publish-early": "publish_early",
    "python.develop": "python_develop",
    "python.eggs": "python_eggs",
    "python.extension": "python_extension",
    "python.scripts": "python_scripts",
    "random.integer": "random_integer",
    "random.mac": "random_mac",
    "random.time": "random_time",
    "random.uuid": "random_uuid",
    "readline": "readline",
    "redis": "redis",
    "replicate": "replicate",
    "request": "request",
    "request-optional": "request_optional",
    "script": "script",
    "shared-instances": "shared_instances",
    "simplehttpserver": "simplehttpserver",
    "slapconfiguration": "slapconfiguration",
    "source": "source",
    "ssh.authorized-keys": "ssh_authorized_keys",
    "ssh.key": "ssh_key",
    "switch-softwaretype": "switch_softwaretype",
    "symlink": "symlink",
    "template": "buildout_template",
    "template.jinja2": "template",
    "urlparse": "urlparse",
    "userinfo": "userinfo",
    "wrapper": "wrapper",
    "wrappers": "wrappers",
}  # entry point -> module; pyproject.toml lists the same


@hookimpl
def allotment_recipe_types() -> tuple[RecipeType, ...]:
    return tuple(RecipeType(name, f"allotment_recipes.recipes.{module}:Recipe") for name, module in RECIPES.items())


@hookimpl
def allotment_source_providers() -> tuple[SourceProvider, ...]:
    return (
        SourceProvider("cache", 0, "allotment_recipes.providers.cache:fetch"),
        SourceProvider("source cache server", 5, "allotment_recipes.providers.source_server:fetch"),
        SourceProvider("url", 10, "allotment_recipes.providers.url:fetch"),
        SourceProvider("source archive", 30, "allotment_recipes.providers.source_archive:fetch"),
        SourceProvider("python index", 50, "allotment_recipes.providers.python_index:fetch"),
        SourceProvider("npm", 60, "allotment_recipes.providers.npm:fetch"),
    )


@hookimpl
def allotment_binary_caches() -> tuple[BinaryCache, ...]:
    package = "allotment_recipes.binary_cache"
    return (
        BinaryCache("file", f"{package}.folder:FolderCache"),
        BinaryCache("http", f"{package}.http:HttpCache"),
        BinaryCache("https", f"{package}.http:HttpCache"),
        BinaryCache("s3", f"{package}.s3:S3Cache"),
    )


@hookimpl
def allotment_commands() -> tuple[Command, ...]:
    commands = "allotment_recipes.commands"
    return (
        Command(("build",), f"{commands}.build:command", "Build a software release; make its manifest."),
        Command(("cache", "key"), f"{commands}.cache:key_command", "Your key for parts, and whose parts you take."),
        Command(("cache", "list"), f"{commands}.cache:list_command", "The parts in a binary cache."),
        Command(("cache", "push"), f"{commands}.cache:push_command", "Give built parts to a binary cache."),
        Command(("cache", "serve"), f"{commands}.cache:serve_command", "Serve a binary cache."),
        Command(("hash", "check"), f"{commands}.hash:check_command", "Compare checksums with their files."),
        Command(("hash", "update"), f"{commands}.hash:update_command", "Write right checksums of local files."),
        Command(("lint",), f"{commands}.lint:command", "Problems of profiles and releases, with their fixes."),
        Command(("lock",), f"{commands}.lock:command", "Record the sha256 of MD5-only sources."),
        Command(
            ("new", "component"), f"{commands}.new:component_command", "Begin a component: fetch a source, pin it."
        ),
        Command(("new", "promise"), f"{commands}.new:promise_command", "Begin a promise type, with its test."),
        Command(("new", "recipe"), f"{commands}.new:recipe_command", "Begin a recipe, with its test and an example."),
        Command(("new", "release"), f"{commands}.new:release_command", "Begin a release whose instances serve a page."),
        Command(("store", "du"), f"{commands}.store_du:command", "What takes how much of the store."),
        Command(("store", "gc"), f"{commands}.store_gc:command", "Remove the parts that nothing needs."),
        Command(("store", "verify"), f"{commands}.store_verify:command", "Whether parts are as they were built."),
        Command(("store", "why"), f"{commands}.store_why:command", "What keeps a part."),
        Command(("source", "add"), f"{commands}.source:add_command", "Take bytes into the source cache; pin them."),
        Command(("source", "fetch"), f"{commands}.source:fetch_command", "Bring all that releases are built from."),
        Command(("source", "list"), f"{commands}.source:list_command", "What is in the source cache, what is missing."),
        Command(("source", "serve"), f"{commands}.source:serve_command", "Serve the source cache to other machines."),
        Command(
            ("profile", "annotate"), f"{commands}.annotate:command", "Each value of a profile, and where it comes from."
        ),
        Command(("why",), f"{commands}.why:command", "Which change let a part be built, and what needs it."),
    )
