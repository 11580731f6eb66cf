/* Tells the zone of this browser, in which pages then show times. Without it: the installation's. */
{
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  const secure = location.protocol === "https:" ? "; secure" : "";
  document.cookie = `rainbo_zone=${zone}; path=/; max-age=31536000; samesite=lax${secure}`;
}
