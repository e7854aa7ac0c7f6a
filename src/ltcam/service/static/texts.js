// Every word of the studio, in both languages, in one table.
const texts = {
  skip: ["Skip to the image", "Zum Bild springen"],
  pageInspect: ["Inspect", "Prüfen"], pageTrain: ["Train", "Trainieren"], pageEvidence: ["Evidence", "Belege"],
  language: ["Language", "Sprache"], keys: ["Keys", "Tasten"], close: ["Close", "Schließen"],
  search: ["Search in names", "In Namen suchen"], show: ["Show", "Zeigen"], showAll: ["all", "alle"],
  showQueue: ["doubtful, not reviewed", "zweifelhaft, ungeprüft"], showDefect: ["defective", "fehlerhaft"],
  showUnsure: ["unsure", "unsicher"], showOk: ["OK", "gut"],
  dropHere: ["Drop images here", "Bilder hier ablegen"], orChoose: ["or choose files", "oder Dateien wählen"],
  older: ["older ones", "ältere"], empty: ["Drop an image, or choose one from the history.", "Ein Bild ablegen oder aus der Liste wählen."],
  nothing: ["Nothing here.", "Hier ist nichts."],
  toolMove: ["Move", "Bewegen"], toolBrush: ["Brush", "Pinsel"], toolEraser: ["Eraser", "Radierer"], brushSize: ["Size", "Größe"],
  undo: ["Undo", "Zurück"], savePainted: ["Save mask", "Maske sichern"], fit: ["Fit", "Einpassen"],
  whatDoYouSay: ["What do you say?", "Was sagen Sie?"], confirmed: ["Defect confirmed", "Fehler bestätigt"],
  falseAlarm: ["False alarm", "Fehlalarm"], missed: ["Defect missed", "Fehler übersehen"], isOk: ["OK", "Gut"],
  kind: ["Kind of defect", "Fehlerart"], asFound: ["as found", "wie gefunden"], note: ["Note", "Notiz"],
  layers: ["Layers", "Ebenen"], heatmap: ["Heatmap", "Wärmebild"], opacity: ["Opacity", "Deckkraft"], mask: ["Mask", "Maske"], regions: ["Regions", "Bereiche"],
  heatmapHint: ["Bright is the hottest place of this image: an image that is OK has one too.", "Hell ist die heißeste Stelle dieses Bildes: auch ein gutes hat eine."],
  whatIf: ["What if", "Was wäre wenn"], threshold: ["Threshold", "Schwelle"], reach: ["Reach", "Reichweite"], asInspected: ["As inspected", "Wie geprüft"],
  defect: ["DEFECT", "FEHLER"], unsure: ["UNSURE", "UNSICHER"], ok: ["OK", "GUT"], score: ["score", "Wert"],
  lot: ["Lot", "Los"], time: ["Time", "Zeit"], size: ["Size", "Größe"], record: ["Record", "Eintrag"],
  area: ["Area, px", "Fläche, px"], length: ["Length, px", "Länge, px"], noRegions: ["none", "keine"],
  saidOn: ["Reviewed", "Bewertet"], saved: ["saved", "gespeichert"], marked: ["px marked", "px markiert"],
  unsaved: ["What was painted here is not saved. Leave it all the same?", "Was hier gemalt wurde, ist nicht gespeichert. Trotzdem weiter?"],
  inspecting: ["inspecting", "prüfe"], failed: ["failed", "fehlgeschlagen"], inspected: ["inspected", "geprüft"],
  dataset: ["Folder of images", "Bilderordner"], check: ["Check", "Prüfen"], start: ["Start training", "Training starten"], cancel: ["Cancel", "Abbrechen"], resume: ["Go on", "Fortsetzen"],
  promote: ["Use from now on", "Ab jetzt verwenden"], rollBack: ["Back to the run before", "Zurück zum Lauf davor"], compare: ["Compare on the latest images", "An den neuesten Bildern vergleichen"],
  noData: ["Start the service with --data-root FOLDER to train from here.", "Zum Trainieren den Dienst mit --data-root ORDNER starten."],
  inUse: ["in use", "in Gebrauch"], running: ["running", "läuft"], done: ["done", "fertig"], cancelled: ["cancelled", "abgebrochen"], interrupted: ["interrupted", "unterbrochen"],
  left: ["left", "übrig"], evidenceOf: ["Why this run inspects as it does", "Warum dieser Lauf so prüft"], settings: ["Settings", "Einstellungen"], model: ["Run", "Lauf"],
  keyNext: ["next / previous inspection", "nächste / vorige Prüfung"], keySay: ["confirmed, false alarm, missed, OK", "bestätigt, Fehlalarm, übersehen, gut"],
  keyTools: ["brush, eraser, move", "Pinsel, Radierer, bewegen"], keyUndo: ["undo", "zurück"], keySave: ["save the painted mask", "gemalte Maske sichern"],
  keyZoom: ["zoom in, out, fit", "größer, kleiner, einpassen"], keyHeat: ["heatmap, mask on and off", "Wärmebild, Maske an und aus"],
  askNetwork: ["Ask the network", "Das Netz fragen"], method: ["Map", "Karte"], stages: ["Stages", "Stufen"], fusion: ["Fusion", "Fusion"],
  truncation: ["Truncation", "Abschneiden"], contrast: ["Contrast", "Kontrast"], window: ["Window", "Fenster"], asRun: ["as in the run", "wie im Lauf"],
  onlyStage: ["only stage", "nur Stufe"], noTruncation: ["none", "ohne"], sideBySide: ["Side by side", "Nebeneinander"],
  contrast_none: ["none", "ohne"], contrast_dark: ["darker than around", "dunkler als umher"], contrast_bright: ["brighter than around", "heller als umher"],
  contrast_either: ["darker or brighter", "dunkler oder heller"], contrast_both: ["darker and brighter", "dunkler und heller"], contrast_colour: ["other colour", "andere Farbe"],
  report: ["The report of its training", "Der Bericht seines Trainings"], verdictWhy: ["Verdict", "Urteil"], maps: ["Maps", "Karten"], mapName: ["Name", "Name"], perKind: ["What is drawn of a kind of defect", "Was von einer Fehlerart gezeichnet wird"],
  trust: ["Trust", "Vertrauen"], trust_good: ["good", "gut"], trust_fair: ["fair", "mäßig"], trust_poor: ["poor", "schlecht"],
  trustHint: ["Trust: how much of the score goes where what is marked is filled with OK texture; good from half of it on, poor below a quarter. It speaks for the place, not for the outline.", "Vertrauen: wie viel vom Wert verschwindet, wenn das Markierte mit guter Oberfläche gefüllt wird; gut ab der Hälfte, schlecht unter einem Viertel. Es spricht für die Stelle, nicht für den Umriss."],
  trainHint: ["Check looks for what would spoil a training. A training learns from the labels of images, not from masks; the run in use goes on inspecting until you take the new one.", "Prüfen sucht, was ein Training verdürbe. Ein Training lernt von den Etiketten der Bilder, nicht von Masken; der Lauf in Gebrauch prüft weiter, bis Sie den neuen nehmen."],
  others: ["others", "andere"], tried: ["Contrasts that were tried", "Versuchte Kontraste"], drop: ["score drop", "Abfall des Werts"], share: ["area", "Fläche"], value: ["value", "Wert"],
  checking: ["looking at every image …", "alle Bilder werden angesehen …"], andMore: ["and more of them:", "und weitere:"],
  readyYes: ["ready to train", "bereit zum Trainieren"], readyWithCare: ["train with care", "mit Vorsicht trainieren"], readyNo: ["not ready to train", "nicht bereit zum Trainieren"],
  level_error: ["error", "Fehler"], level_warning: ["warning", "Warnung"], level_note: ["note", "Hinweis"],
  epoch: ["Epoch", "Epoche"], ap: ["average precision", "mittlere Präzision"], epochMasks: ["What it would mark after each epoch", "Was es nach jeder Epoche markieren würde"],
  epochHint: ["Masks of the plain map; map, contrast and cut of each kind are chosen after the last epoch.", "Masken der einfachen Karte; Karte, Kontrast und Schnitt jeder Art werden nach der letzten Epoche gewählt."],
  trainedOn: ["trained on", "damit trainiert"], takeOut: ["Take out what is listed", "Aufgelistetes mitnehmen"], takeOutAs: ["as", "als"], download: ["Download", "Herunterladen"],
  table: ["table (CSV)", "Tabelle (CSV)"],
  changedVerdicts: ["verdicts change", "Urteile ändern sich"], images: ["images", "Bilder"],
};

let column = 0;

export function t(name) {
  return texts[name]?.[column] ?? name;
}

// A name as it can be seen: what would be invisible, or turn the text around, is shown by its code.
export function visible(name) {
  return name.replace(/\p{C}/gu, (letter) => `\\u{${letter.codePointAt(0).toString(16)}}`);
}

export function language() {
  return column === 1 ? "de" : "en";
}

export function setLanguage(name) {
  column = name === "de" ? 1 : 0;
  document.documentElement.lang = language();
  for (const element of document.querySelectorAll("[data-text]")) element.textContent = t(element.dataset.text);
}
