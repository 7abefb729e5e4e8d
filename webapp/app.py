"""`create_app`: the one place where the parts meet."""

from __future__ import annotations

import sys

from flask import Flask
from jinja2 import StrictUndefined
from werkzeug.middleware.proxy_fix import ProxyFix

from webapp.accounts.home import Home
from webapp.accounts.people import ensure_admin
from webapp.assets import asset_dir
from webapp.config import Config, load_config
from webapp.domain import Domain, load_domain
from webapp.store.database import parse_url
from webapp.web import (
    account,
    aggregates,
    audit,
    dead_letters,
    errors,
    events,
    filters,
    find,
    frame,
    health,
    login,
    logs,
    metrics,
    projections,
    replays,
    security,
    stores,
    types,
    users,
)
from webapp.web.context import Dashboard
from webapp.web.sources import Sources

blueprints = (
    login.bp,
    account.bp,
    users.bp,
    health.bp,
    metrics.bp,
    stores.bp,
    find.bp,
    events.bp,
    logs.bp,
    types.bp,
    aggregates.bp,
    projections.bp,
    replays.bp,
    dead_letters.bp,
    audit.bp,
)


def create_app(config: Config | None = None, home: Home | None = None) -> Flask:
    """The dashboard as a WSGI app. Opens home (its tables are migrated), but no store: each opens when first looked at.

    Raises InvalidRequest for a setting that can't be used and StoreUnavailable where home can't be reached.
    """
    config = config or load_config()
    for _, url in config.stores:
        parse_url(url)
    home = home or Home.open(config)
    password = ensure_admin(home, config)
    if password is not None:  # the command prints it before; this is for those who start the app by themselves
        print(f"The first user is admin with the password {password} (shown only now).", file=sys.stderr)
    app = Flask("webapp", template_folder=str(asset_dir("templates")), static_folder=str(asset_dir("static")))
    app.secret_key = home.secret_key
    app.config |= {
        "MAX_CONTENT_LENGTH": 1024 * 1024,
        "SESSION_COOKIE_NAME": "projectionist_visit",
        "SESSION_COOKIE_SAMESITE": "Lax",
        "SESSION_COOKIE_HTTPONLY": True,
    }
    app.jinja_env.undefined = StrictUndefined
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    domain = load_domain(config.domain) if config.domain else Domain()
    sources = Sources(config.stores, home.events, config.database_url, config.actor_keys, config.page_seconds)
    app.extensions["projectionist"] = Dashboard(config, home, sources, domain)
    app.extensions["projectionist_metrics"] = metrics.Metrics(app.extensions["projectionist"])
    security.install(app)
    errors.install(app)
    filters.register(app)
    frame.install(app)
    for blueprint in blueprints:
        app.register_blueprint(blueprint)
    if config.trusted_proxies:
        hops = config.trusted_proxies
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=hops, x_proto=hops, x_host=hops, x_prefix=hops)  # type: ignore[method-assign]
    return app
