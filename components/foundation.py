"""The shared parts of a stack, made once and handed to every component as its Context."""

from components.context import Context
from components.contributions import ScrapeCredential
from components.engine import Engine
from components.images import ImageSet
from components.networks import Networks
from components.runtime import ContainerRuntime
from components.secrets import Secrets
from components.settings import Settings
from components.trust import CertificateAuthority
from images.lock import load_lock

SCRAPE_USER = "prometheus"


def lay_foundation(stack: str, settings: Settings, engine: Engine) -> tuple[Context, Networks]:
    """Networks, CA, secrets, images and the runtime of one stack."""
    networks = Networks("networks", stack, settings)
    images = ImageSet("images", load_lock(), settings)
    secrets = Secrets("secrets")
    scrape = secrets.password("scrape")
    runtime = ContainerRuntime(
        "runtime",
        stack=stack,
        bind_address=settings.bind_address,
        networks=networks,
        probe_image=images["probe"],
        toolbox_image=images["postgres"],
        engine=engine,
    )
    context = Context(
        stack=stack,
        settings=settings,
        runtime=runtime,
        ca=CertificateAuthority("ca", stack),
        secrets=secrets,
        images=images,
        scrape=ScrapeCredential(username=SCRAPE_USER, password=scrape.value, bcrypt_hash=scrape.bcrypt),
    )
    return context, networks
