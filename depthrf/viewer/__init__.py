"""`depthrf view`: a walk through a trained scene in the browser, served by viser (https://viser.studio)."""
