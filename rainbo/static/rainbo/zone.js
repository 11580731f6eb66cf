/* Sends the browser's time zone, in which pages then show times. Default: the installation's. */
{
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  const secure = location.protocol === "https:" ? "; secure" : "";
  document.cookie = `rainbo_zone=${zone}; path=/; max-age=31536000; samesite=lax${secure}`;
}
